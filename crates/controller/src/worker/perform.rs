//! The steps, as calls of the engine. Each may be repeated; what the engine has already forgotten is fine.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use hythe_runtime::identity::{COMPONENT, OWNER, SERVICE};
use hythe_runtime::{
    Error, ErrorKind, Filter, Listed, LogOptions, NetworkSpec, Observed, Plan, PlanNetwork, Progress, Runtime, State,
    Stop, VolumeSpec,
};
use hythe_spec::{MountSource, Network};
use hythe_store::{Desired, DesiredRecord, InstanceRecord, Transaction};
use serde_json::json;
use tokio::sync::mpsc;

use super::Worker;
use super::instance::{is_same, reference};
use crate::directory::Cell;
use crate::event::workload_event;
use crate::lifecycle::{Outcome, Step};
use crate::operation::Report;
use crate::snapshots::is_of_a_snapshot;

/// Log lines kept with an end.
const LAST_LINES: u64 = 50;
/// Longest time that reading them may take.
const READ_LINES: Duration = Duration::from_secs(5);

impl Worker {
    pub(super) async fn perform(&mut self, step: Step, desired: &DesiredRecord) -> Result<Outcome, Error> {
        match step {
            Step::Look => self.look().await,
            Step::MakeVolumes => self.make_volumes().await,
            Step::MakeNetworks => self.make_networks().await,
            Step::Pull => self.unless_superseded(desired, self.pull()).await,
            Step::Run => self.run_current().await,
            Step::Start => self.start_current().await,
            Step::StopCurrent => self.unless_superseded(desired, self.stop_current(desired)).await,
            Step::RemoveCurrent => self.remove(self.observed.current.as_ref()).await,
            Step::StopPrevious => self.stop_previous(desired).await,
            Step::RemovePrevious => self.remove(self.observed.previous.as_ref()).await,
            Step::Sweep => self.sweep(desired).await,
            Step::Forget => self.forget(desired),
        }
    }

    /// Long work ends when something newer is desired or the request is withdrawn. A stop does only for another stop: what is being stopped must not
    /// be taken for running.
    async fn unless_superseded(
        &self,
        desired: &DesiredRecord,
        work: impl Future<Output = Result<Outcome, Error>>,
    ) -> Result<Outcome, Error> {
        let mut cell = self.cell.subscribe();
        let stopping = desired.desired != Desired::Running;
        let newer = |cell: &Cell| cell.desired != *desired && (!stopping || cell.desired.desired != Desired::Running);
        let request = self.request.as_ref().filter(|_| !stopping);
        let cancel = request.map(|request| request.operation.context().cancel).unwrap_or_default();
        let error = || Error::new(ErrorKind::Cancelled, "converge", "a newer request took its place");
        tokio::select! {
            biased;
            outcome = work => outcome,
            Ok(_) = cell.wait_for(newer) => Err(error()),
            () = cancel.cancelled() => Err(error()),
        }
    }

    /// A runtime that is no longer configured has nothing that could be removed.
    fn runtime_left(&self, name: &str) -> Result<Option<Arc<dyn Runtime>>, Error> {
        match self.runtime(name) {
            Err(error) if error.is_not_found() => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    fn current(&self) -> Result<(&InstanceRecord, Arc<dyn Runtime>), Error> {
        let none = || Error::new(ErrorKind::Internal, "converge", "there is no current instance");
        let current = self.observed.current.as_ref().ok_or_else(none)?;
        Ok((current, self.runtime(&current.runtime)?))
    }

    fn plan(&self, current: &InstanceRecord) -> Plan {
        let service = self.cell.borrow().desired.service.clone();
        self.controller.plan_of(&service, &current.recipe, current.generation, current.attempt)
    }

    async fn look(&self) -> Result<Outcome, Error> {
        let Some(current) = &self.observed.current else { return Ok(Outcome::Seen(None, Vec::new())) };
        let Some(runtime) = self.runtime_left(&current.runtime)? else { return Ok(Outcome::Seen(None, Vec::new())) };
        let _turn = self.controller.looks.acquire().await;
        let seen = self.inspect(&runtime, current).await?;
        let ended = seen.as_ref().is_some_and(|seen| seen.state == State::Exited);
        let failing = self.observed.failing.is_some() && seen.is_some();
        let lines = if ended || failing { self.last_lines(&runtime, current).await } else { Vec::new() };
        Ok(Outcome::Seen(seen, lines))
    }

    async fn inspect(
        &self,
        runtime: &Arc<dyn Runtime>,
        instance: &InstanceRecord,
    ) -> Result<Option<Box<Observed>>, Error> {
        match runtime.inspect(&self.context(), &reference(instance)).await {
            Ok(seen) => Ok(Some(Box::new(seen))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An engine that does not give them keeps nobody from going on.
    async fn last_lines(&self, runtime: &Arc<dyn Runtime>, instance: &InstanceRecord) -> Vec<String> {
        let Some(logs) = runtime.logs() else { return Vec::new() };
        let options = LogOptions { tail: Some(LAST_LINES), ..LogOptions::default() };
        let reading = async {
            let stream = logs.logs(&self.context(), &reference(instance), &options).await.ok()?;
            let lines = stream.filter_map(|line| std::future::ready(line.ok()));
            Some(lines.map(|line| String::from_utf8_lossy(&line.line).into_owned()).collect::<Vec<_>>().await)
        };
        tokio::time::timeout(READ_LINES, reading).await.ok().flatten().unwrap_or_default()
    }

    async fn make_volumes(&self) -> Result<Outcome, Error> {
        let (current, runtime) = self.current()?;
        let Some(volumes) = runtime.volumes() else { return Ok(Outcome::Done) };
        let service = self.desired().service;
        for mount in &current.recipe.component.mounts {
            if let MountSource::Volume { name, external: false } = &mount.source {
                let name = hythe_runtime::plan::volume_name(&service, name);
                volumes.ensure(&self.context(), &VolumeSpec { name, labels: self.own_labels() }).await?;
            }
        }
        Ok(Outcome::Done)
    }

    async fn make_networks(&self) -> Result<Outcome, Error> {
        let (current, runtime) = self.current()?;
        let own = current.recipe.component.network == Network::Service;
        let PlanNetwork::Bridged { attachments } = self.plan(current).network else { return Ok(Outcome::Done) };
        let Some(networks) = runtime.networks().filter(|_| own) else { return Ok(Outcome::Done) };
        for attachment in attachments {
            let spec = NetworkSpec { name: attachment.network, labels: self.own_labels(), internal: false };
            networks.ensure(&self.context(), &spec).await?;
        }
        Ok(Outcome::Done)
    }

    fn own_labels(&self) -> BTreeMap<String, String> {
        let owner = self.controller.settings.owner.clone();
        BTreeMap::from([(OWNER.to_owned(), owner), (SERVICE.to_owned(), self.desired().service)])
    }

    async fn pull(&self) -> Result<Outcome, Error> {
        let (current, runtime) = self.current()?;
        let image = &current.recipe.component.image;
        let Some(images) = runtime.images() else { return Ok(Outcome::Pulled(None)) };
        match images.get(&self.context(), image).await {
            Ok(_) => return Ok(Outcome::Pulled(None)),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        if is_of_a_snapshot(image) {
            return Err(self.controller.snapshot_missing(image, &current.runtime).await);
        }
        self.phase("pulling", format!("pulling {image}"));
        let (sink, reports) = mpsc::channel(64);
        let pulling = async {
            let pulled = images.pull(&self.context(), image, &sink).await;
            drop(sink);
            pulled
        };
        let (pulled, ()) = tokio::join!(pulling, self.tell_pull(reports));
        pulled.map(|_| Outcome::Pulled(Some(image.to_string()))).map_err(|error| match error.next_step() {
            None if error.is_not_found() => {
                error.hint("check the image's name, or describe its build in `[build.images]`")
            }
            _ => error,
        })
    }

    async fn tell_pull(&self, mut reports: mpsc::Receiver<Progress>) {
        let name = self.desired().name;
        while let Some(progress) = reports.recv().await {
            if let Some(request) = &self.request {
                request.operation.report(Report {
                    workload: Some(name.clone()),
                    phase: "pulling",
                    item: progress.item,
                    message: progress.status,
                    current: progress.current,
                    total: progress.total,
                });
            }
        }
    }

    async fn run_current(&self) -> Result<Outcome, Error> {
        let (current, runtime) = self.current()?;
        runtime.run(&self.context(), &self.plan(current)).await.map(Outcome::Made)
    }

    async fn start_current(&self) -> Result<Outcome, Error> {
        let (current, runtime) = self.current()?;
        runtime.start(&self.context(), &reference(current)).await.map(|()| Outcome::Done)
    }

    /// Stops it and reads how it ended.
    async fn stop_current(&self, desired: &DesiredRecord) -> Result<Outcome, Error> {
        let Some(current) = &self.observed.current else { return Ok(Outcome::Seen(None, Vec::new())) };
        let Some(runtime) = self.runtime_left(&current.runtime)? else { return Ok(Outcome::Seen(None, Vec::new())) };
        self.stop(&runtime, current, desired).await?;
        let seen = self.inspect(&runtime, current).await?;
        Ok(Outcome::Seen(seen, Vec::new()))
    }

    async fn stop_previous(&self, desired: &DesiredRecord) -> Result<Outcome, Error> {
        let Some(previous) = &self.observed.previous else { return Ok(Outcome::Done) };
        let Some(runtime) = self.runtime_left(&previous.runtime)? else { return Ok(Outcome::Done) };
        self.stop(&runtime, previous, desired).await?;
        Ok(Outcome::Done)
    }

    async fn stop(
        &self,
        runtime: &Arc<dyn Runtime>,
        instance: &InstanceRecord,
        desired: &DesiredRecord,
    ) -> Result<(), Error> {
        let grace = desired.grace.unwrap_or(instance.recipe.component.stop_grace.0);
        let how = Stop { signal: None, grace: Duration::from_millis(grace) };
        match runtime.stop(&self.context(), &reference(instance), &how).await {
            Err(error) if error.is_not_found() => Ok(()),
            outcome => outcome,
        }
    }

    async fn remove(&self, instance: Option<&InstanceRecord>) -> Result<Outcome, Error> {
        let Some(instance) = instance else { return Ok(Outcome::Done) };
        if let Some(runtime) = self.runtime_left(&instance.runtime)? {
            runtime.remove(&self.context(), &reference(instance)).await?;
        }
        Ok(Outcome::Done)
    }

    /// Instances of this workload that are neither current nor kept for a rollback are left from an interrupted step.
    async fn sweep(&self, desired: &DesiredRecord) -> Result<Outcome, Error> {
        let Some(runtime) = self.runtime_left(&desired.placement.runtime)? else { return Ok(Outcome::Done) };
        let mut filter = Filter::owned_by(&self.controller.settings.owner);
        filter.labels.insert(SERVICE.to_owned(), desired.service.clone());
        filter.labels.insert(COMPONENT.to_owned(), desired.recipe.component.name.clone());
        let rows = runtime.list(&self.context(), &filter).await?;
        let grace = Duration::from_millis(desired.recipe.component.stop_grace.0);
        for row in rows.iter().filter(|row| self.is_stray(row, desired)) {
            tracing::info!(workload = desired.name, instance = row.name, "a left-over instance is removed");
            self.controller.discard(&runtime, &row.id, grace).await?;
        }
        Ok(Outcome::Done)
    }

    fn is_stray(&self, row: &Listed, desired: &DesiredRecord) -> bool {
        let older = row.identity.as_ref().is_some_and(|identity| identity.generation <= desired.generation);
        let mut known = self.observed.current.iter().chain(&self.observed.previous);
        older && !known.any(|instance| instance.name == row.name || instance.id.as_ref() == Some(&row.id.0))
    }

    /// The state that a list gives for the current instance, and whether it has instances that nobody knows.
    pub(super) fn compare(&self, rows: &[Listed]) -> (Option<State>, bool) {
        let desired = self.desired();
        let current = self.observed.current.as_ref();
        let is = |row: &&Listed| current.is_some_and(|current| is_same(current, &row.id, Some(&row.name)));
        let state = rows.iter().find(is).map(|row| row.state);
        (state, rows.iter().any(|row| self.is_stray(row, &desired)))
    }

    /// Unless it was deployed again just now.
    fn forget(&self, desired: &DesiredRecord) -> Result<Outcome, Error> {
        let _accepting = self.controller.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.desired() != *desired {
            return Ok(Outcome::Done);
        }
        let changes = Transaction {
            forget_workloads: vec![desired.name.clone()],
            events: vec![workload_event(desired, "removed", "removed", json!({}))],
            ..Transaction::default()
        };
        self.controller.events.commit(&changes).map_err(crate::store_error)?;
        self.controller.directory.remove(&desired.name);
        self.phase("removed", "removed");
        Ok(Outcome::Done)
    }

    /// Nothing of the service is known to run on its runtime, so its network is probably not there yet: asking for an instance first would be in vain.
    pub(super) fn is_first_of_service(&self) -> bool {
        let desired = self.desired();
        let made = |instance: &InstanceRecord| instance.runtime == desired.placement.runtime && instance.id.is_some();
        !self.controller.directory.any_of_service(&desired.service, |cell| {
            cell.observed.current.iter().chain(&cell.observed.previous).any(made)
        })
    }
}
