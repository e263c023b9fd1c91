//! Snapshots: the files of a workload's instance, kept as an image on its runtime under a name of ours.
//!
//! The engine is the source of truth: the store has no snapshots. A workload's own task takes them, so that nothing else is done to the instance meanwhile.

pub(crate) mod naming;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hythe_runtime::{
    Error, ErrorKind, InstanceRef, OpContext, Runtime, Snapshot, SnapshotMount, SnapshotRequest, Snapshots, State,
};
use hythe_spec::ImageRef;
use hythe_spec::vocabulary::{EventKind, OperationKind};
use hythe_store::{DesiredRecord, NewEvent, OperationRecord, Transaction};
use serde_json::json;
use tokio::sync::oneshot;

use crate::message::{Message, TakeSnapshot};
use crate::model::WorkloadState;
use crate::{Controller, OperationHandle};
pub use naming::SnapshotOn;
use naming::{Name, OPERATION};

/// Longest time that an engine is given for what an agent that died asked of it.
const LEFT: Duration = Duration::from_secs(600);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the runtime must have.
pub(crate) fn facet(runtime: &dyn Runtime) -> Result<&dyn Snapshots, Error> {
    runtime.snapshots().ok_or_else(|| {
        let words = format!("runtime `{}` keeps no snapshots", runtime.info().name);
        Error::new(ErrorKind::Unsupported, OPERATION, words).hint("`hythe runtimes` shows which runtime can do what")
    })
}

impl Controller {
    /// Keeps the files of a workload's current instance, running or not; the operation's result names the image.
    ///
    /// # Errors
    /// `NotFound` for the workload, `Conflict` where it has no instance, `Unavailable` where its runtime does not answer, `Unsupported` where it keeps none,
    /// `Invalid` for the name. A name that is taken fails the operation with `AlreadyExists`. Nothing is changed then.
    pub fn snapshot(self: &Arc<Self>, workload: &str, name: Option<&str>) -> Result<Arc<OperationHandle>, Error> {
        let (runtime, _) = self.current(workload)?;
        facet(runtime.as_ref())?;
        let desired = self.workload(workload)?.desired;
        naming::image(&desired.service, &desired.spec.component.name, name.unwrap_or("1"))?;
        self.store.has_room().map_err(crate::store_error)?;
        let (controller, name) = (self.clone(), name.map(str::to_owned));
        self.operations.spawn(OperationKind::Snapshot, workload, |operation| async move {
            let name = controller.free_name(&operation, &runtime, &desired, name.as_deref()).await?;
            let kept = controller.take_snapshot(&desired.name, operation, name).await?;
            let SnapshotOn { runtime, snapshot } = kept;
            Ok(Some(json!({ "image": snapshot.name, "runtime": runtime, "id": snapshot.id, "size": snapshot.size })))
        })
    }

    /// An engine may go on with a snapshot after the agent died, and pause the instance meanwhile: such a workload is not drift.
    pub(crate) fn freeze_interrupted(self: &Arc<Self>, interrupted: &[OperationRecord]) {
        let earliest = self.now() - LEFT;
        let may_go_on = |operation: &&OperationRecord| {
            operation.kind == OperationKind::Snapshot && operation.finished.is_some_and(|finished| finished > earliest)
        };
        let workloads: BTreeSet<_> = interrupted.iter().filter(may_go_on).map(|found| found.subject.clone()).collect();
        for workload in workloads {
            let controller = self.clone();
            let frozen = self.snapshots.freeze(&workload);
            self.spawn(async move {
                let over = controller.runs_or_is_gone(&workload);
                if tokio::time::timeout(LEFT, over).await.is_err() {
                    tracing::warn!(workload, "is still paused, long after the agent that took its snapshot died");
                }
                drop(frozen);
            });
        }
    }

    async fn runs_or_is_gone(&self, workload: &str) {
        let cx = OpContext::new(format!("{OPERATION} {workload}"));
        loop {
            let state = match self.instance(workload).await {
                Ok((runtime, id)) => runtime.inspect(&cx, &id).await.map(|seen| seen.state),
                Err(error) => Err(error),
            };
            match state {
                Ok(State::Paused) => {}
                Err(error) if error.is_temporary() => {}
                Ok(_) | Err(_) => return,
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// A name that no image has on any runtime that answers: it shall mean one thing.
    async fn free_name(
        &self,
        operation: &Arc<OperationHandle>,
        runtime: &Arc<dyn Runtime>,
        desired: &DesiredRecord,
        asked: Option<&str>,
    ) -> Result<Name, Error> {
        let _choosing = self.snapshots.choosing.lock().await;
        let mut taken = BTreeSet::new();
        for name in self.runtimes.names() {
            let Ok(other) = self.runtimes.get(&name) else { continue };
            let Some(images) = other.images() else { continue };
            match images.list(&operation.context()).await {
                Ok(images) => taken.extend(images.into_iter().flat_map(|image| image.tags)),
                Err(error) if name == runtime.info().name => return Err(error),
                Err(error) => tracing::debug!(runtime = name, %error, "names on it were not looked at"),
            }
        }
        let of = (&*desired.service, &*desired.spec.component.name);
        let repository = naming::image(of.0, of.1, "1")?.repository();
        let used = self.store.snapshot_number(&repository).map_err(crate::store_error)?;
        self.snapshots.take(of, asked, taken, used)
    }

    /// Hands the work to the workload's task.
    async fn take_snapshot(
        &self,
        workload: &str,
        operation: Arc<OperationHandle>,
        name: Name,
    ) -> Result<SnapshotOn, Error> {
        let (reply, outcome) = oneshot::channel();
        let gone = || Error::new(ErrorKind::Conflict, OPERATION, format!("workload `{workload}` is gone"));
        let handle = self.registry.get(workload).ok_or_else(gone)?;
        handle.send(Message::Snapshot(TakeSnapshot { name, operation, reply }));
        outcome.await.map_err(|_| gone())?
    }

    /// Asks the engine and reports the event. After a lost answer it looks for the snapshot.
    pub(crate) async fn commit_snapshot(
        &self,
        cx: &OpContext,
        runtime: &Arc<dyn Runtime>,
        instance: &InstanceRef,
        request: &SnapshotRequest,
    ) -> Result<SnapshotOn, Error> {
        let snapshots = facet(runtime.as_ref())?;
        let snapshot = match snapshots.commit(cx, instance, request).await {
            Ok(snapshot) => snapshot,
            Err(error) if error.is_not_found() => {
                let words = format!("the instance of `{}` is gone: {}", request.identity.workload(), error.message());
                return Err(Error::new(ErrorKind::Conflict, OPERATION, words).source(error));
            }
            // The name was free: what has it now is what was asked for.
            Err(error) if error.is_temporary() => {
                let made = snapshots.list(&OpContext::new(OPERATION)).await.unwrap_or_default();
                let name = request.image.to_string();
                let is_it = |made: &Snapshot| made.name == name && made.identity == request.identity;
                made.into_iter().find(is_it).ok_or(error)?
            }
            Err(error) => return Err(error),
        };
        if let Some(number) = request.image.tag.as_deref().and_then(|tag| tag.parse().ok())
            && let Err(error) = self.store.use_snapshot_number(&request.image.repository(), number)
        {
            tracing::warn!(%error, "the number of a snapshot was not stored");
        }
        let kept = SnapshotOn { runtime: runtime.info().name.clone(), snapshot };
        self.report(EventKind::SnapshotCreated, format!("files kept as {}", kept.snapshot.name), &kept);
        Ok(kept)
    }

    /// The snapshots of this agent, by name and runtime. Runtimes that do not answer are left out unless named.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable` or `Unsupported` for the runtime named; those of the engines.
    pub async fn snapshots(&self, runtime: Option<&str>, service: Option<&str>) -> Result<Vec<SnapshotOn>, Error> {
        let mut all = match runtime {
            Some(name) => self.snapshots_on(name).await?,
            None => self.snapshots_anywhere().await?.0,
        };
        all.retain(|one| service.is_none_or(|service| one.snapshot.identity.service == service));
        all.sort_by(|a, b| (&a.snapshot.name, &a.runtime).cmp(&(&b.snapshot.name, &b.runtime)));
        Ok(all)
    }

    /// One snapshot, by full name or `<service>/<component>:<name>`, and how the host can look at its files, or why it cannot.
    ///
    /// # Errors
    /// `Invalid` for the name, `NotFound`, `Conflict` where several runtimes have it; those of the engine.
    pub async fn snapshot_mounts(
        &self,
        name: &str,
        runtime: Option<&str>,
    ) -> Result<(SnapshotOn, Result<Vec<SnapshotMount>, Error>), Error> {
        let image = naming::parse(name)?;
        let found = self.find_snapshot(&image, runtime).await?;
        let reading = self.reading(&found.runtime)?;
        match facet(reading.as_ref())?.mounts(&OpContext::new(OPERATION), &image).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok((found, Err(error))),
            mounts => Ok((found, Ok(mounts?))),
        }
    }

    /// Removes a snapshot of this agent.
    ///
    /// # Errors
    /// As [`Controller::snapshot_mounts`]; `Conflict` where a workload is described by it or an instance uses it.
    pub async fn remove_snapshot(&self, name: &str, runtime: Option<&str>) -> Result<(), Error> {
        let image = naming::parse(name)?;
        let found = self.find_snapshot(&image, runtime).await?;
        self.must_be_unused(&image, &found.runtime)?;
        let runtime = self.runtimes.get(&found.runtime)?;
        facet(runtime.as_ref())?.remove(&OpContext::new(OPERATION), &image).await?;
        self.report(EventKind::SnapshotRemoved, format!("removed {image}"), &found);
        Ok(())
    }

    /// An instance that is gone must come back, and one that was replaced too.
    fn must_be_unused(&self, image: &ImageRef, runtime: &str) -> Result<(), Error> {
        let uses = |state: &WorkloadState| {
            let wanted = state.desired.placement.runtime == runtime && state.desired.spec.component.image == *image;
            let mut there = state.observed.current.iter().chain(&state.observed.previous);
            wanted || there.any(|one| one.runtime == runtime && one.spec.component.image == *image)
        };
        let Some(user) = self.workloads().into_iter().find(uses) else { return Ok(()) };
        let words = format!("`{image}` is the image of workload `{}`", user.desired.name);
        Err(Error::new(ErrorKind::Conflict, OPERATION, words)
            .hint("deploy it with another image first, or undeploy it"))
    }

    /// Why an image that only a snapshot can be is not fetched, and where it is.
    pub(crate) async fn snapshot_missing(&self, image: &ImageRef, runtime: &str) -> Error {
        let words = format!("runtime `{runtime}` has no snapshot `{image}`");
        let missing = Error::new(ErrorKind::NotFound, "pull", words);
        let has = |one: &SnapshotOn| one.snapshot.name == image.to_string();
        let elsewhere = self.snapshots_anywhere().await.unwrap_or_default().0.into_iter().find(has);
        let kind = |name: &str| self.runtimes.status().into_iter().find(|status| status.name == name);
        match elsewhere.and_then(|one| kind(&one.runtime)) {
            Some(home) => missing.hint(format!(
                "`{}` has it, and snapshots stay where they were made: write `runtime = \"{}\"`",
                home.name, home.kind
            )),
            None => missing.hint("snapshots stay on the runtime they were made on: `hythe snapshot ls` lists them"),
        }
    }

    async fn find_snapshot(&self, image: &ImageRef, runtime: Option<&str>) -> Result<SnapshotOn, Error> {
        let (mut found, silent) = match runtime {
            Some(name) => (self.snapshots_on(name).await?, None),
            None => self.snapshots_anywhere().await?,
        };
        let name = image.to_string();
        found.retain(|one| one.snapshot.name == name);
        match (found.len(), silent) {
            (0, Some(silent)) => Err(silent),
            (0, None) => Err(Error::new(ErrorKind::NotFound, OPERATION, format!("there is no snapshot `{name}`"))
                .hint("`hythe snapshot ls` lists them")),
            (1, _) => Ok(found.remove(0)),
            (_, _) => {
                let places: Vec<&str> = found.iter().map(|one| one.runtime.as_str()).collect();
                let words = format!("several runtimes have `{name}`: {}", places.join(", "));
                Err(Error::new(ErrorKind::Conflict, OPERATION, words).hint("choose one with `--runtime`"))
            }
        }
    }

    async fn snapshots_on(&self, name: &str) -> Result<Vec<SnapshotOn>, Error> {
        let runtime = self.reading(name)?;
        let listed = facet(runtime.as_ref())?.list(&OpContext::new(OPERATION)).await?;
        let ours = listed.into_iter().filter(|snapshot| snapshot.identity.owner == self.owner());
        Ok(ours.map(|snapshot| SnapshotOn { runtime: name.to_owned(), snapshot }).collect())
    }

    /// All of them, and why a runtime that answered before may have more.
    async fn snapshots_anywhere(&self) -> Result<(Vec<SnapshotOn>, Option<Error>), Error> {
        let (mut all, mut silent) = (Vec::new(), None);
        for status in self.runtimes.status() {
            match self.snapshots_on(&status.name).await {
                Ok(found) => all.extend(found),
                Err(error) => match error.kind() {
                    ErrorKind::Unsupported => {}
                    ErrorKind::Unavailable | ErrorKind::Timeout if status.info.is_none() => {}
                    ErrorKind::Unavailable | ErrorKind::Timeout => silent = silent.or(Some(error)),
                    _ => return Err(error),
                },
            }
        }
        Ok((all, silent))
    }

    /// Commits an event; a failure changes nothing of the snapshot.
    fn report(&self, kind: EventKind, message: String, kept: &SnapshotOn) {
        let SnapshotOn { runtime, snapshot } = kept;
        let identity = &snapshot.identity;
        let event = NewEvent {
            time: self.now(),
            runtime: Some(runtime.clone()),
            service: Some(identity.service.clone()),
            workload: Some(identity.workload()),
            kind: kind.into(),
            message,
            details: json!({ "image": snapshot.name, "id": snapshot.id, "instance": identity.instance_name() }),
        };
        if let Err(error) = self.events.commit(&Transaction { events: vec![event], ..Transaction::default() }) {
            tracing::warn!(%error, "an event was not stored");
        }
    }
}
