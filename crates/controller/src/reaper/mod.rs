//! Collecting what is ours and no longer wanted: by label, by age, and only after two agreeing looks.
//!
//! `decide` says what is garbage (pure), `look` what there is; here it is removed. Nothing without our labels is ever seen.

mod decide;
mod look;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hythe_runtime::{Error, ErrorKind, InstanceId, OpContext, Stop};
use hythe_store::{NewEvent, Transaction};
use jiff::Timestamp;
use serde_json::json;

use crate::Controller;
use decide::Noticed;
pub use decide::{Candidate, Object, ObjectKind};

const OPERATION: &str = "gc";
/// What is left behind gets so long to end before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// What was noticed so far; held during a collection, so that two never work on one object.
#[derive(Debug, Default)]
pub(crate) struct Reaper {
    noticed: Mutex<BTreeMap<Object, Noticed>>,
    collecting: tokio::sync::Mutex<()>,
}

/// How to collect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcOptions {
    /// Volumes too, with their data.
    pub volumes: bool,
}

/// What a collection did.
#[derive(Debug, Default)]
pub struct Collected {
    /// What was removed.
    pub removed: Vec<Candidate>,
    /// What could not be removed, and why.
    pub failed: Vec<(Candidate, Error)>,
    /// What is not old enough or was not seen often enough yet.
    pub waiting: Vec<Candidate>,
}

/// Looks and collects at intervals; volumes are only looked at.
pub(crate) async fn run(controller: Arc<Controller>) {
    let interval = controller.settings.gc.interval;
    if interval.is_zero() {
        return;
    }
    loop {
        tokio::time::sleep(interval).await;
        let collected = controller.collect(GcOptions::default()).await;
        match collected {
            Ok(collected) => {
                for (candidate, error) in &collected.failed {
                    tracing::warn!(object = candidate.object.name, %error, "what is left behind was not removed");
                }
            }
            Err(error) => tracing::warn!(%error, "what is left behind was not looked for"),
        }
    }
}

impl Controller {
    /// Everything that nobody wants any more, ripe or not; one more look at each of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn garbage(&self) -> Result<Vec<Candidate>, Error> {
        let seen = self.seen().await;
        let wanted = self.wanted()?;
        let mut noticed = self.reaper.noticed.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(decide::candidates(&wanted, &seen, &mut noticed, self.settings.gc.min_age, Timestamp::now()))
    }

    /// Removes what is ripe.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn collect(&self, options: GcOptions) -> Result<Collected, Error> {
        let _collecting = self.reaper.collecting.lock().await;
        let asked = |candidate: &Candidate| candidate.object.kind != ObjectKind::Volume || options.volumes;
        let (mut ripe, waiting): (Vec<Candidate>, Vec<Candidate>) =
            self.garbage().await?.into_iter().filter(asked).partition(|candidate| candidate.ripe);
        // Instances come first: networks and volumes are free once nobody uses them.
        ripe.sort_by(|a, b| a.object.cmp(&b.object));
        let mut collected = Collected { waiting, ..Collected::default() };
        for candidate in ripe {
            match self.reap(&candidate).await {
                Ok(()) => collected.removed.push(candidate),
                Err(error) => collected.failed.push((candidate, error)),
            }
        }
        Ok(collected)
    }

    async fn reap(&self, candidate: &Candidate) -> Result<(), Error> {
        let object = &candidate.object;
        self.must_be_unwanted(object)?;
        let cx = OpContext::new(OPERATION);
        match object.kind {
            ObjectKind::File => remove_file(&object.name)?,
            ObjectKind::Instance => {
                let runtime = self.runtimes.get(&object.runtime)?;
                let id = InstanceId(object.id.clone());
                match runtime.stop(&cx, &id, &Stop { signal: None, grace: GRACE }).await {
                    Err(error) if !error.is_not_found() => return Err(error),
                    _ => {}
                }
                self.must_be_unwanted(object)?;
                runtime.remove(&cx, &id).await?;
            }
            ObjectKind::Network => {
                let runtime = self.runtimes.get(&object.runtime)?;
                if let Some(networks) = runtime.networks() {
                    networks.remove(&cx, &object.name).await?;
                }
            }
            ObjectKind::Volume => {
                let runtime = self.runtimes.get(&object.runtime)?;
                if let Some(volumes) = runtime.volumes() {
                    volumes.remove(&cx, &object.name).await?;
                }
            }
        }
        self.tell_of(candidate);
        Ok(())
    }

    /// Whoever has begun to use it since keeps it.
    fn must_be_unwanted(&self, object: &Object) -> Result<(), Error> {
        let wanted = self.wanted()?;
        let referred = wanted.workloads.values().any(|workload| workload.refers_to(object));
        let service = object.service.as_ref();
        let busy = service.is_some_and(|service| wanted.busy.contains(service));
        let known = object.kind != ObjectKind::Instance && service.is_some_and(|name| wanted.services.contains(name));
        if referred || busy || known {
            return Err(Error::new(ErrorKind::Conflict, OPERATION, format!("`{}` is wanted again", object.name)));
        }
        Ok(())
    }

    fn tell_of(&self, candidate: &Candidate) {
        let object = &candidate.object;
        let kind = object.kind.as_str();
        let event = NewEvent {
            time: Timestamp::now(),
            runtime: Some(object.runtime.clone()).filter(|runtime| !runtime.is_empty()),
            service: object.service.clone(),
            workload: None,
            kind: "collected".to_owned(),
            message: format!("removed {kind} {}: {}", object.name, candidate.reason),
            details: json!({ "object": kind, "name": object.name, "reason": candidate.reason, "first_seen": candidate.first_seen }),
        };
        tracing::info!(object = object.name, reason = candidate.reason, "what was left behind is removed");
        if let Err(error) = self.events.commit(&Transaction { events: vec![event], ..Transaction::default() }) {
            tracing::warn!(%error, "an event was not stored");
        }
    }
}

fn remove_file(path: &str) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::new(ErrorKind::Internal, OPERATION, format!("`{path}` cannot be removed")).source(error))
        }
        _ => Ok(()),
    }
}
