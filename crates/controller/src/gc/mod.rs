//! Collects orphaned objects of this agent: by label, by age, and only when orphaned in two consecutive scans.
//!
//! `decide` says what is orphaned (pure), `scan` lists what exists; this module removes it. Objects without this agent's labels are never listed.

mod decide;
mod images;
pub(crate) mod observations;
mod scan;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hythe_runtime::{Error, ErrorKind, InstanceRef, OpContext, Stop};
use hythe_spec::vocabulary::EventKind;
use hythe_store::{NewEvent, Transaction};
use serde_json::json;

use crate::Controller;
pub use decide::{Candidate, Object, ObjectKind};

const OPERATION: &str = "gc";
/// Stop grace of an orphaned instance.
const GRACE: Duration = Duration::from_secs(10);

/// How to collect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcOptions {
    /// Volumes too, with their data.
    pub volumes: bool,
    /// Images of this agent that have been unused for so long, whatever the settings say.
    pub images_older_than: Option<Duration>,
}

/// What a collection did.
#[derive(Debug, Default)]
pub struct Collected {
    /// What was removed.
    pub removed: Vec<Candidate>,
    /// What could not be removed, and why.
    pub failed: Vec<(Candidate, Error)>,
    /// What is not eligible yet.
    pub waiting: Vec<Candidate>,
}

/// Scans and collects at intervals. Volumes are scanned only.
pub(crate) async fn run(controller: Arc<Controller>) {
    let interval = controller.settings.gc.interval;
    if interval.is_zero() {
        return;
    }
    let images = controller.settings.gc.images_older_than;
    let mut scanned: Option<tokio::time::Instant> = None;
    loop {
        tokio::time::sleep(interval).await;
        let due = |age| scanned.is_none_or(|at| at.elapsed() >= images::scan_interval(age));
        let images = images.filter(|age| due(*age));
        if images.is_some() {
            scanned = Some(tokio::time::Instant::now());
        }
        let collected = controller.collect_with(false, images).await;
        match collected {
            Ok(collected) => {
                for (candidate, error) in &collected.failed {
                    tracing::warn!(object = candidate.object.name, %error, "an orphaned object was not removed");
                }
            }
            Err(error) => tracing::warn!(%error, "orphaned objects were not listed"),
        }
    }
}

impl Controller {
    /// All orphaned objects, eligible or not. This counts as a scan.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn garbage(&self, options: GcOptions) -> Result<Vec<Candidate>, Error> {
        self.garbage_with(options.images_older_than.or(self.settings.gc.images_older_than)).await
    }

    async fn garbage_with(&self, images_older_than: Option<Duration>) -> Result<Vec<Candidate>, Error> {
        let images = match images_older_than {
            Some(age) => self.old_images(age).await?,
            None => Vec::new(),
        };
        let mut all = self.other_garbage().await?;
        all.extend(images);
        Ok(all)
    }

    async fn other_garbage(&self) -> Result<Vec<Candidate>, Error> {
        let seen = self.scan_all().await;
        let wanted = self.wanted()?;
        let mut observed = self.gc.observed.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(decide::candidates(&wanted, &seen, &mut observed, self.settings.gc.min_age, self.now()))
    }

    /// Removes what is eligible.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn collect(&self, options: GcOptions) -> Result<Collected, Error> {
        self.collect_with(options.volumes, options.images_older_than.or(self.settings.gc.images_older_than)).await
    }

    async fn collect_with(&self, volumes: bool, images_older_than: Option<Duration>) -> Result<Collected, Error> {
        let _collecting = self.gc.collecting.lock().await;
        let asked = |candidate: &Candidate| candidate.object.kind != ObjectKind::Volume || volumes;
        let (mut eligible, waiting): (Vec<Candidate>, Vec<Candidate>) = self
            .garbage_with(images_older_than)
            .await?
            .into_iter()
            .filter(asked)
            .partition(|candidate| candidate.eligible);
        // Instances come first: networks and volumes are free once nobody uses them.
        eligible.sort_by(|a, b| a.object.cmp(&b.object));
        let mut collected = Collected { waiting, ..Collected::default() };
        for candidate in eligible {
            match self.collect_one(&candidate).await {
                Ok(()) => collected.removed.push(candidate),
                Err(error) => collected.failed.push((candidate, error)),
            }
        }
        Ok(collected)
    }

    async fn collect_one(&self, candidate: &Candidate) -> Result<(), Error> {
        let object = &candidate.object;
        self.ensure_orphaned(object)?;
        let cx = OpContext::new(OPERATION);
        match object.kind {
            ObjectKind::File => remove_file(&object.name)?,
            ObjectKind::Image => self.collect_image(object).await?,
            ObjectKind::Instance => {
                let runtime = self.runtimes.get(&object.runtime)?;
                let id = InstanceRef::id(&object.id);
                match runtime.stop(&cx, &id, &Stop { signal: None, grace: GRACE }).await {
                    Err(error) if !error.is_not_found() => return Err(error),
                    _ => {}
                }
                self.ensure_orphaned(object)?;
                runtime.remove(&cx, &id).await?;
            }
            ObjectKind::Network => {
                let runtime = self.runtimes.get(&object.runtime)?;
                if let Some(networks) = runtime.networks() {
                    networks.remove(&cx, &object.name, self.owner()).await?;
                }
            }
            ObjectKind::Volume => {
                let runtime = self.runtimes.get(&object.runtime)?;
                if let Some(volumes) = runtime.volumes() {
                    volumes.remove(&cx, &object.name, self.owner()).await?;
                }
            }
        }
        self.report_collected(candidate);
        Ok(())
    }

    async fn collect_image(&self, object: &Object) -> Result<(), Error> {
        let unused = self.unused_images(&object.runtime).await?;
        match unused.into_iter().find(|image| image.id == object.id && image.tags.is_empty()) {
            Some(image) => self.remove_unused(&object.runtime, &image).await,
            None => Err(Error::new(ErrorKind::Conflict, OPERATION, format!("`{}` is in use again", object.name))),
        }
    }

    /// Refuses to remove an object that is referred to again.
    fn ensure_orphaned(&self, object: &Object) -> Result<(), Error> {
        let wanted = self.wanted()?;
        let referred = wanted.workloads.values().any(|workload| workload.refers_to(object));
        let service = object.service.as_ref();
        let busy = service.is_some_and(|service| wanted.busy.contains(service));
        let known = object.kind != ObjectKind::Instance && service.is_some_and(|name| wanted.services.contains(name));
        if referred || busy || known {
            return Err(Error::new(ErrorKind::Conflict, OPERATION, format!("`{}` is in use again", object.name)));
        }
        Ok(())
    }

    fn report_collected(&self, candidate: &Candidate) {
        let object = &candidate.object;
        let kind = object.kind.as_str();
        let event = NewEvent {
            time: self.now(),
            runtime: Some(object.runtime.clone()).filter(|runtime| !runtime.is_empty()),
            service: object.service.clone(),
            workload: None,
            kind: EventKind::Collected.into(),
            message: format!("removed {kind} {}: {}", object.name, candidate.reason),
            details: json!({ "object": kind, "name": object.name, "reason": candidate.reason, "first_seen": candidate.first_seen }),
        };
        tracing::info!(object = object.name, reason = candidate.reason, "an orphaned object is removed");
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
