//! Fetching an image: between two steps, or beside them, while what it is to replace is watched over.

use std::sync::Arc;

use hythe_runtime::{Capability, Error, ErrorKind, Image, OpContext, Progress};
use hythe_spec::vocabulary::ProgressPhase;
use hythe_spec::{Component, ImageRef, Platform, PullPolicy};
use hythe_store::DesiredRecord;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::Worker;
use crate::crash::Moment;
use crate::images::check_platform;
use crate::lifecycle::{self, Input, Outcome, Step};
use crate::lookup::inspect;
use crate::message::{Fetched, Message};
use crate::operation::Report;
use crate::snapshots::naming::is_of_a_snapshot;
use crate::{Controller, OperationHandle};

/// An image that is wanted on a runtime.
#[derive(Debug)]
struct Wanted {
    controller: Arc<Controller>,
    runtime: String,
    image: ImageRef,
    platform: Option<Platform>,
    workload: String,
    policy: PullPolicy,
    /// It is fetched also where it is there.
    again: bool,
    context: OpContext,
    operation: Option<Arc<OperationHandle>>,
}

/// One that is being fetched for the next instance; not any more once this is gone.
#[derive(Debug)]
pub(super) struct Fetch {
    generation: u64,
    task: AbortHandle,
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Worker {
    /// Fetches the image of the current instance.
    pub(super) async fn pull(&self) -> Result<Outcome, Error> {
        let (instance, _) = self.in_the_making()?;
        self.wanted(instance.runtime, instance.spec.component).pull().await
    }

    /// Begins to fetch the image of the next instance; the outcome comes as a message.
    pub(super) async fn begin_fetch(&mut self) {
        self.controller.pass_step(Step::Pull, Moment::Intended).await;
        let desired = self.desired();
        let wanted = self.wanted(desired.placement.runtime, desired.spec.component);
        let (generation, inbox) = (desired.generation, self.own.clone());
        let task = self.controller.spawn(async move {
            let outcome = wanted.pull().await;
            // A task that has ended has no use for it.
            let _ = inbox.send(Message::Fetched(Fetched { generation, outcome }));
        });
        self.fetch = Some(Fetch { generation, task: task.abort_handle() });
    }

    /// What was fetched beside the steps is taken for what it is: the end of one.
    pub(super) async fn end_fetch(&mut self, fetched: Fetched) {
        if self.fetch.take_if(|fetch| fetch.generation == fetched.generation).is_none() {
            return;
        }
        self.controller.pass_step(Step::Pull, Moment::Acted).await;
        let outcome = self.replace_moved(fetched.outcome).await;
        self.observe(Input::Ended(Step::Pull, outcome));
        if self.is_stored() {
            self.controller.pass_step(Step::Pull, Moment::Stored).await;
        }
    }

    /// Whether what is to be fetched is for no instance that waits for it alone.
    pub(super) fn fetches_beside(&self, desired: &DesiredRecord) -> bool {
        lifecycle::is_ahead(&self.observed) || lifecycle::is_refreshed(desired, &self.observed)
    }

    /// An image that was fetched again, and is another one than the running instance's, makes the next generation.
    async fn replace_moved(&self, outcome: Result<Outcome, Error>) -> Result<Outcome, Error> {
        let (outcome, desired) = (outcome?, self.desired());
        if lifecycle::is_refreshed(&desired, &self.observed) && self.has_moved().await? {
            self.controller.replace_moved(&desired)?;
        }
        Ok(outcome)
    }

    /// Whether the image's name means another image by now than the one the current instance runs.
    async fn has_moved(&self) -> Result<bool, Error> {
        let (current, runtime) = self.current()?;
        let Some(images) = runtime.images() else { return Ok(false) };
        let seen = match inspect(runtime.as_ref(), &self.context(), self.controller.owner(), current).await {
            Err(error) if error.is_not_found() => return Ok(false),
            outcome => outcome?,
        };
        let image = images.get(&self.context(), &current.spec.component.image).await?;
        Ok(seen.image_id.is_some_and(|runs| runs != image.id))
    }

    /// What nobody waits for any more is not fetched on.
    pub(super) fn drop_fetch(&mut self) {
        let desired = self.desired();
        let newest = desired.generation;
        let ahead = self.observed.ahead.as_ref().map(|ahead| ahead.generation);
        let wanted = match ahead.filter(|_| lifecycle::is_ahead(&self.observed)) {
            None => lifecycle::is_refreshed(&desired, &self.observed).then_some(newest),
            ahead => ahead,
        };
        self.fetch.take_if(|fetch| wanted != Some(fetch.generation) || newest != fetch.generation);
    }

    fn wanted(&self, runtime: String, component: Component) -> Wanted {
        let Component { image, platform, .. } = component;
        let desired = self.desired();
        Wanted {
            policy: desired.pull,
            // What a digest names is always the same.
            again: desired.refresh > self.observed.refreshed && image.digest.is_none() && !is_of_a_snapshot(&image),
            controller: self.controller.clone(),
            runtime,
            image,
            platform,
            workload: desired.name,
            context: self.context(),
            operation: self.request.as_ref().map(|request| request.operation.clone()),
        }
    }
}

impl Wanted {
    async fn pull(self) -> Result<Outcome, Error> {
        let (runtime, image) = (self.controller.runtimes.get(&self.runtime)?, &self.image);
        let Some(images) = runtime.images() else { return Ok(Outcome::Pulled(None)) };
        let mut unfit = None;
        match images.get(&self.context, image).await {
            Ok(found) => match self.check(runtime.capability(), &found) {
                Ok(()) if !self.again => return Ok(Outcome::Pulled(None)),
                Err(error) if self.policy == PullPolicy::Never || is_of_a_snapshot(image) => return Err(error),
                // It is fetched again; also one under its name that is for another platform.
                outcome => unfit = outcome.err(),
            },
            Err(error) if error.is_not_found() && self.policy == PullPolicy::Never => return Err(self.never()),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        if is_of_a_snapshot(image) {
            return Err(self.controller.snapshot_missing(image, &self.runtime).await);
        }
        if let Some(operation) = &self.operation {
            operation.phase(&self.workload, ProgressPhase::Pulling, format!("pulling {image}"));
        }
        let (sink, reports) = mpsc::channel(64);
        let pulling = async {
            let pulled = images.pull(&self.context, image, self.platform.as_ref(), &sink).await;
            drop(sink);
            pulled.map(|pulled| (pulled.clone(), vec![pulled]))
        };
        let pulling = self.controller.record_pulled(&self.context, runtime.as_ref(), images, pulling);
        let (pulled, ()) = tokio::join!(pulling, self.forward(reports));
        let pulled = match (pulled, unfit) {
            (Err(error), Some(unfit)) if error.is_not_found() => return Err(unfit),
            (pulled, _) => pulled.and_then(|pulled| self.check(runtime.capability(), &pulled)),
        };
        pulled.map(|()| Outcome::Pulled(Some(image.to_string()))).map_err(|error| match error.next_step() {
            None if error.is_not_found() => {
                error.hint("check the image's name, or describe its build in `[build.images]`")
            }
            _ => error,
        })
    }

    fn never(&self) -> Error {
        let words = format!("image `{}` is not on runtime `{}`, and is not to be pulled", self.image, self.runtime);
        Error::new(ErrorKind::NotFound, "pull", words)
            .hint("`hythe image load` brings it there; or deploy with `pull_policy = \"missing\"`")
    }

    fn check(&self, capability: &Capability, found: &Image) -> Result<(), Error> {
        check_platform(&self.image, self.platform.as_ref(), capability, found)
    }

    async fn forward(&self, mut reports: mpsc::Receiver<Progress>) {
        while let Some(progress) = reports.recv().await {
            if let Some(operation) = &self.operation {
                operation.report(Report {
                    workload: Some(self.workload.clone()),
                    phase: ProgressPhase::Pulling,
                    item: progress.item,
                    message: progress.status,
                    current: progress.current,
                    total: progress.total,
                });
            }
        }
    }
}
