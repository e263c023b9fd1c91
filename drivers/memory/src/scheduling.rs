//! An engine that takes its time to start what it is asked to start, as a cluster that schedules or a machine that boots.

use std::sync::Arc;
use std::time::Duration;

use hythe_runtime::{Error, ErrorKind, InstanceId, InstanceRef, OpContext, Pending, Result};
use jiff::Timestamp;

use crate::engine::Engine;
use crate::lifecycle;

/// Between two looks at what is pending; each reports it again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long every start takes, and what the instance waits for meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Scheduling {
    pub(crate) takes: Duration,
    pub(crate) pending: Pending,
}

/// Starts an instance, which may be pending first. Whoever waits may go: the engine starts it all the same, unless it is stopped.
pub(crate) async fn start(
    engine: &Arc<Engine>,
    cx: &OpContext,
    operation: &'static str,
    instance: &InstanceRef,
) -> Result<()> {
    let Some(scheduling) = engine.scheduling.clone() else { return lifecycle::start(engine, operation, instance) };
    let Some((id, before)) = begin(engine, operation, instance, &scheduling)? else { return Ok(()) };
    loop {
        {
            let mut world = engine.world();
            let found = world.get_mut(operation, &id)?;
            if let Some((kind, words)) = found.start_failure.take() {
                return Err(Error::new(kind, operation, words));
            }
            let Some(pending) = found.pending.clone() else {
                return match found.started != before {
                    true => Ok(()),
                    false => Err(Error::new(ErrorKind::Conflict, operation, "it was stopped before it was started")),
                };
            };
            cx.waiting.report(pending);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// It is pending from now on; gives its id and when it was last started. `None`: it runs already.
fn begin(
    engine: &Arc<Engine>,
    operation: &'static str,
    instance: &InstanceRef,
    scheduling: &Scheduling,
) -> Result<Option<(InstanceId, Option<Timestamp>)>> {
    let mut world = engine.world();
    let found = world.find_mut(operation, instance)?;
    let (id, before) = (found.id.clone(), found.started);
    if found.run.is_some() {
        return Ok(None);
    }
    if found.pending.is_none() {
        found.pending = Some(scheduling.pending.clone());
        found.start_failure = None;
        let (engine, id, takes) = (engine.clone(), id.clone(), scheduling.takes);
        tokio::spawn(async move {
            tokio::time::sleep(takes).await;
            come_to(&engine, &id);
        });
    }
    Ok(Some((id, before)))
}

/// The engine comes to it: it is started, unless it was stopped or removed meanwhile.
fn come_to(engine: &Arc<Engine>, id: &InstanceId) {
    let is_pending = engine.world().get_mut("start", id).is_ok_and(|found| found.pending.take().is_some());
    if !is_pending {
        return;
    }
    if let Err(error) = lifecycle::start(engine, "start", &id.to_ref())
        && let Ok(found) = engine.world().get_mut("start", id)
    {
        found.start_failure = Some((error.kind(), error.message().to_owned()));
    }
}
