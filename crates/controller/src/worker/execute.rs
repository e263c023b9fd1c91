//! The steps, as calls of the engine. Each may be repeated; what the engine no longer has is fine.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hythe_runtime::identity::{COMPONENT, OWNER, SERVICE};
use hythe_runtime::{
    Error, ErrorKind, Filter, InstanceRef, Listed, LogOptions, NetworkSpec, Observed, Plan, PlanNetwork, Runtime,
    State, Stop, VolumeSpec,
};
use hythe_spec::vocabulary::{EventKind, ProgressPhase};
use hythe_spec::{MountSource, Network};
use hythe_store::{Desired, DesiredRecord, InstanceRecord, Transaction};
use serde_json::json;

use super::Worker;
use super::last_lines::{self, LAST_LINES};
use crate::event::workload_event;
use crate::lifecycle::{self, Outcome, Step};
use crate::lookup;
use crate::model::{WorkloadState, is_same};

/// Longest time that reading them may take.
const READ_LINES: Duration = Duration::from_secs(5);

impl Worker {
    pub(super) async fn execute(&mut self, step: Step, desired: &DesiredRecord) -> Result<Outcome, Error> {
        match step {
            Step::Inspect => self.inspect_current().await,
            Step::MakeVolumes => self.make_volumes().await,
            Step::MakeNetworks => self.make_networks().await,
            Step::Pull => self.unless_superseded(desired, self.pull()).await,
            Step::Run => self.run_current(desired).await,
            Step::Start => self.start_current(desired).await,
            Step::Signal => self.signal_current(desired).await,
            Step::StopCurrent => self.unless_superseded(desired, self.stop_current(desired)).await,
            Step::RemoveCurrent => self.remove(self.observed.current.as_ref()).await,
            Step::StopPrevious => self.stop_previous(desired).await,
            Step::RemovePrevious => self.remove(self.observed.previous.as_ref()).await,
            Step::PruneStrays => self.prune_strays(desired).await,
            Step::Undeploy => self.undeploy(desired),
        }
    }

    /// Long work ends when something newer is desired or the request is withdrawn. A stop does only for another stop: what is being stopped must not
    /// be taken for running.
    async fn unless_superseded(
        &self,
        desired: &DesiredRecord,
        work: impl Future<Output = Result<Outcome, Error>>,
    ) -> Result<Outcome, Error> {
        let mut state = self.state.subscribe();
        let stopping = desired.desired != Desired::Running;
        let newer = |state: &WorkloadState| {
            state.desired != *desired && (!stopping || state.desired.desired != Desired::Running)
        };
        let request = self.request.as_ref().filter(|_| !stopping);
        let cancel = request.map(|request| request.operation.context().cancel).unwrap_or_default();
        let error = || Error::new(ErrorKind::Cancelled, "converge", "a newer request took its place");
        tokio::select! {
            biased;
            outcome = work => outcome,
            Ok(_) = state.wait_for(newer) => Err(error()),
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

    pub(super) fn current(&self) -> Result<(&InstanceRecord, Arc<dyn Runtime>), Error> {
        let none = || Error::new(ErrorKind::Internal, "converge", "there is no current instance");
        let current = self.observed.current.as_ref().ok_or_else(none)?;
        Ok((current, self.runtime(&current.runtime)?))
    }

    fn plan(&self, current: &InstanceRecord) -> Plan {
        let service = self.state.borrow().desired.service.clone();
        self.controller.plan_of(&service, &current.spec, current.generation, current.attempt)
    }

    async fn inspect_current(&self) -> Result<Outcome, Error> {
        let Some(current) = &self.observed.current else { return Ok(Outcome::Seen(None, Vec::new())) };
        let Some(runtime) = self.runtime_left(&current.runtime)? else { return Ok(Outcome::Seen(None, Vec::new())) };
        let _permit = self.controller.inspects.acquire().await;
        let seen = self.inspect(&runtime, current).await?;
        let ended = seen.as_ref().is_some_and(|seen| seen.state == State::Exited);
        let failure_pending = self.observed.failure_pending.is_some() && seen.is_some();
        let lines = if ended || failure_pending { self.last_lines(&runtime, current).await } else { Vec::new() };
        Ok(Outcome::Seen(seen, lines))
    }

    async fn inspect(
        &self,
        runtime: &Arc<dyn Runtime>,
        instance: &InstanceRecord,
    ) -> Result<Option<Box<Observed>>, Error> {
        match lookup::inspect(runtime.as_ref(), &self.context(), self.controller.owner(), instance).await {
            Ok(seen) => Ok(Some(Box::new(seen))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn identify(
        &self,
        runtime: &Arc<dyn Runtime>,
        instance: &InstanceRecord,
    ) -> Result<InstanceRef, Error> {
        lookup::identify(runtime.as_ref(), &self.context(), self.controller.owner(), instance).await
    }

    /// An engine that does not give them keeps nobody from going on.
    async fn last_lines(&self, runtime: &Arc<dyn Runtime>, instance: &InstanceRecord) -> Vec<String> {
        let Some(logs) = runtime.logs() else { return Vec::new() };
        let options = LogOptions { tail: Some(LAST_LINES), ..LogOptions::default() };
        let reading = async {
            let id = self.identify(runtime, instance).await.ok()?;
            Some(last_lines::collect(logs.logs(&self.context(), &id, &options).await.ok()?).await)
        };
        tokio::time::timeout(READ_LINES, reading).await.ok().flatten().unwrap_or_default()
    }

    /// The instance that steps make things for, and its runtime: the next one, where the current one goes on until then.
    pub(super) fn in_the_making(&self) -> Result<(InstanceRecord, Arc<dyn Runtime>), Error> {
        let Some(ahead) = self.observed.ahead.as_ref().filter(|_| lifecycle::is_ahead(&self.observed)) else {
            return self.current().map(|(current, runtime)| (current.clone(), runtime));
        };
        let DesiredRecord { placement, spec, name, .. } = self.desired();
        let runtime = self.runtime(&placement.runtime)?;
        Ok((InstanceRecord::pending(&placement.runtime, name, spec, ahead.generation, 1), runtime))
    }

    async fn make_volumes(&self) -> Result<Outcome, Error> {
        let (instance, runtime) = self.in_the_making()?;
        let Some(volumes) = runtime.volumes() else { return Ok(Outcome::Done) };
        let service = self.desired().service;
        let mut foreign = Vec::new();
        for mount in &instance.spec.component.mounts {
            match &mount.source {
                MountSource::Volume { name, external: false } => {
                    let name = hythe_runtime::plan::volume_name(&service, name);
                    volumes.ensure(&self.context(), &VolumeSpec { name, labels: self.own_labels() }).await?;
                }
                MountSource::Volume { name, external: true } => foreign.push(name.clone()),
                _ => {}
            }
        }
        if lifecycle::is_ahead(&self.observed) && !foreign.is_empty() {
            let known: Vec<String> = volumes.list(&self.context()).await?.into_iter().map(|one| one.name).collect();
            must_be_there("volume", &foreign, &known)?;
        }
        Ok(Outcome::Done)
    }

    async fn make_networks(&self) -> Result<Outcome, Error> {
        let (instance, runtime) = self.in_the_making()?;
        let own = instance.spec.component.network == Network::Service;
        let PlanNetwork::Networks { attachments } = self.plan(&instance).network else { return Ok(Outcome::Done) };
        let Some(networks) = runtime.networks() else { return Ok(Outcome::Done) };
        let names: Vec<String> = attachments.into_iter().map(|attachment| attachment.network).collect();
        if own {
            for name in names {
                let spec = NetworkSpec { name, labels: self.own_labels(), internal: false };
                networks.ensure(&self.context(), &spec).await?;
            }
        } else if lifecycle::is_ahead(&self.observed) {
            let known: Vec<String> = networks.list(&self.context()).await?.into_iter().map(|one| one.name).collect();
            must_be_there("network", &names, &known)?;
        }
        Ok(Outcome::Done)
    }

    fn own_labels(&self) -> BTreeMap<String, String> {
        let owner = self.controller.settings.owner.clone();
        BTreeMap::from([(OWNER.to_owned(), owner), (SERVICE.to_owned(), self.desired().service)])
    }

    async fn run_current(&mut self, desired: &DesiredRecord) -> Result<Outcome, Error> {
        let (current, runtime) = self.current()?;
        self.controller.provide_secrets(current, true)?;
        let (cx, plan, name) = (self.context(), self.plan(current), current.name.clone());
        let outcome = self.while_pending(desired, &cx, runtime.run(&cx, &plan)).await;
        match outcome {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(lookup::name_in_use(runtime.as_ref(), &cx, self.controller.owner(), &name, error).await)
            }
            outcome => outcome.map(Outcome::Made),
        }
    }

    async fn start_current(&mut self, desired: &DesiredRecord) -> Result<Outcome, Error> {
        let (current, runtime) = self.current()?;
        self.controller.provide_secrets(current, false)?;
        let id = self.identify(&runtime, current).await?;
        let cx = self.context();
        self.while_pending(desired, &cx, runtime.start(&cx, &id)).await.map(|()| Outcome::Done)
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
        let grace = desired.grace.unwrap_or(instance.spec.component.stop_grace.0);
        let how = Stop { signal: None, grace: Duration::from_millis(grace) };
        let stopped = async {
            let id = self.identify(runtime, instance).await?;
            runtime.stop(&self.context(), &id, &how).await
        };
        match stopped.await {
            Err(error) if error.is_not_found() => Ok(()),
            outcome => outcome,
        }
    }

    async fn remove(&self, instance: Option<&InstanceRecord>) -> Result<Outcome, Error> {
        let Some(instance) = instance else { return Ok(Outcome::Done) };
        if let Some(runtime) = self.runtime_left(&instance.runtime)? {
            match self.identify(&runtime, instance).await {
                Ok(id) => runtime.remove(&self.context(), &id).await?,
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        self.controller.drop_secrets(&instance.name);
        Ok(Outcome::Done)
    }

    /// Instances of this workload that are neither current nor kept for a rollback are strays of an interrupted step.
    async fn prune_strays(&self, desired: &DesiredRecord) -> Result<Outcome, Error> {
        let Some(runtime) = self.runtime_left(&desired.placement.runtime)? else { return Ok(Outcome::Done) };
        let mut filter = Filter::owned_by(&self.controller.settings.owner);
        filter.labels.insert(SERVICE.to_owned(), desired.service.clone());
        filter.labels.insert(COMPONENT.to_owned(), desired.spec.component.name.clone());
        let rows = runtime.list(&self.context(), &filter).await?;
        let grace = Duration::from_millis(desired.spec.component.stop_grace.0);
        for row in rows.iter().filter(|row| self.is_stray(row, desired)) {
            tracing::info!(workload = desired.name, instance = row.name, "a stray instance is removed");
            self.controller.discard(&runtime, &row.id, grace).await?;
            self.controller.drop_secrets(&row.name);
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
    fn undeploy(&self, desired: &DesiredRecord) -> Result<Outcome, Error> {
        let _accepting = self.controller.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.desired() != *desired {
            return Ok(Outcome::Done);
        }
        let changes = Transaction {
            forget_workloads: vec![desired.name.clone()],
            events: vec![workload_event(self.controller.now(), desired, EventKind::Removed, "removed", json!({}))],
            ..Transaction::default()
        };
        self.controller.events.commit(&changes).map_err(crate::store_error)?;
        self.controller.registry.remove(&desired.name);
        self.phase(ProgressPhase::Removed, "removed");
        Ok(Outcome::Done)
    }

    /// Nothing of the service is known to run on its runtime, so its network is probably not there yet: asking for an instance first would be in vain.
    pub(super) fn is_first_of_service(&self) -> bool {
        let desired = self.desired();
        let made = |instance: &InstanceRecord| instance.runtime == desired.placement.runtime && instance.id.is_some();
        !self.controller.registry.any_of_service(&desired.service, |state| {
            state.observed.current.iter().chain(&state.observed.previous).any(made)
        })
    }
}

/// External volumes and networks are never created: without them nothing is begun.
fn must_be_there(what: &str, wanted: &[String], known: &[String]) -> Result<(), Error> {
    match wanted.iter().find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(name) => Err(Error::new(ErrorKind::NotFound, "converge", format!("no {what} `{name}`"))
            .hint("the service does not own it: create it first")),
    }
}
