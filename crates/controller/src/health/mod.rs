//! Health probes: one task per running instance tries, the workload's task counts.
//!
//! For: trying, and saying why a try failed. Not for: what follows from the result (see `lifecycle`).

mod exec;
mod grpc;
mod http;
mod reason;
mod target;
#[cfg(test)]
mod tests;
mod tls;

use std::sync::Arc;

use hythe_runtime::{InstanceId, Runtime};
use hythe_spec::Health;
use hythe_store::{HealthState, InstanceRecord};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};

use self::target::Target;
use crate::Controller;
use crate::message::Message;

/// While no probe has succeeded yet they come at least this often, so that a quick start is seen quickly.
const EAGER: Duration = Duration::from_millis(250);

/// Counts results. Pure but for the clock it was started with.
#[derive(Debug)]
pub(crate) struct Tracker {
    since: Instant,
    state: HealthState,
    failures: u32,
}

impl Default for Tracker {
    fn default() -> Self {
        Self { since: Instant::now(), state: HealthState::Starting, failures: 0 }
    }
}

impl Tracker {
    /// Of an instance that was known to be healthy before the agent was restarted.
    pub(crate) fn healthy() -> Self {
        Self { state: HealthState::Healthy, ..Self::default() }
    }

    /// The new state and why, when this result changes it.
    pub(crate) fn take(
        &mut self,
        health: &Health,
        result: Result<(), String>,
    ) -> Option<(HealthState, Option<String>)> {
        let early = self.state == HealthState::Starting && self.since.elapsed() < health.start_period.duration();
        let next = match &result {
            Ok(()) => {
                self.failures = 0;
                HealthState::Healthy
            }
            Err(_) if early => self.state,
            Err(_) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= health.retries.max(1) { HealthState::Unhealthy } else { self.state }
            }
        };
        if next == self.state {
            return None;
        }
        self.state = next;
        Some((next, result.err().map(|reason| format!("probe failed {} times: {reason}", self.failures))))
    }
}

/// Time until the next try.
fn pause(health: &Health, starting: bool) -> Duration {
    let interval = health.interval.duration();
    match health.start_interval {
        _ if !starting => interval,
        Some(given) => given.duration(),
        None => interval.min(EAGER),
    }
}

/// The probing of one instance; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Prober {
    id: InstanceId,
    started: Option<Timestamp>,
    task: JoinHandle<()>,
}

impl Prober {
    /// Begins with an instance whose id is known.
    pub(crate) fn start(
        controller: &Controller,
        health: Health,
        id: InstanceId,
        instance: &InstanceRecord,
        runtime: Arc<dyn Runtime>,
        inbox: mpsc::UnboundedSender<Message>,
    ) -> Self {
        let target = Target::new(id.clone(), instance, &health.probe, runtime);
        let task = controller.spawn(async move {
            let mut healthy = false;
            let since = Instant::now();
            loop {
                let result = target.probe(&health).await.map_err(|reason| reason.to_string());
                healthy |= result.is_ok();
                let starting = !healthy && since.elapsed() < health.start_period.duration();
                if inbox.send(Message::Probed(target.id.clone(), result)).is_err() {
                    return;
                }
                tokio::time::sleep(pause(&health, starting)).await;
            }
        });
        Self { id, started: instance.started, task }
    }

    pub(crate) fn is_for(&self, id: &InstanceId, started: Option<Timestamp>) -> bool {
        self.id == *id && self.started == started
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}
