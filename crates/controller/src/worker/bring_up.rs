//! From desired to running: adopt, start again or replace. Each step is safe to repeat after a crash anywhere in it.

use std::sync::Arc;
use std::time::Duration;

use hythe_runtime::{Error, ErrorKind, InstanceId, Observed, Plan, Runtime, State};
use hythe_store::{DesiredRecord, InstanceRecord, Phase};
use jiff::Timestamp;

use super::instance::with_details;
use super::{Message, Worker};
use crate::directory::Cell;
use crate::policy;

/// Longer than engines take to tell of a start.
const LOOK_LATER: Duration = Duration::from_secs(1);

impl Worker {
    /// Makes the current instance the one of the desired generation, running.
    pub(crate) async fn bring_up(&mut self) -> Result<(), Error> {
        let desired = self.desired();
        let observed = self.observed();
        if observed.gave_up == Some(desired.generation) && self.request.is_none() {
            return self.keep_up().await;
        }
        let runtime = self.runtime(&desired.placement.runtime)?;
        let made = observed.current.as_ref().is_some_and(|current| is_wanted(current, &desired));
        match if made { self.inspect_current().await? } else { None } {
            Some(seen) if seen.state == State::Running => self.adopt(&seen).await,
            Some(seen) => self.start_again(&runtime, seen).await,
            None => self.replace(&runtime, &desired, made).await,
        }
    }

    /// A rolled back workload: the old instance is kept running.
    pub(super) async fn keep_up(&mut self) -> Result<(), Error> {
        let Some(current) = self.observed().current else {
            return Ok(());
        };
        let runtime = self.runtime(&current.runtime)?;
        match self.inspect_current().await? {
            Some(seen) if seen.state == State::Running => self.adopt(&seen).await,
            Some(seen) => self.start_again(&runtime, seen).await,
            None => Err(Error::new(ErrorKind::Conflict, "start", "the instance it was rolled back to is gone")),
        }
    }

    pub(super) async fn adopt(&mut self, seen: &Observed) -> Result<(), Error> {
        let proven = self.was_healthy(seen);
        self.update(Vec::new(), |observed| {
            observed.phase = Phase::Running;
            observed.message = None;
            observed.next_try = None;
            observed.current = observed.current.take().map(|current| with_details(current, seen));
        })?;
        self.phase("running", "runs already");
        self.probe(seen, proven);
        self.prove_again().await;
        Ok(())
    }

    pub(super) async fn start_again(&mut self, runtime: &Arc<dyn Runtime>, seen: Observed) -> Result<(), Error> {
        self.wait_for_dependencies(&self.desired()).await?;
        let again = self.observed().phase == Phase::Restarting;
        self.update(Vec::new(), |observed| {
            observed.phase = Phase::Starting;
            observed.next_try = None;
        })?;
        self.phase("starting", "starting");
        self.controller.pass("start.intended").await;
        runtime.start(&self.context(), &seen.id).await?;
        self.controller.pass("start.acted").await;
        self.update(Vec::new(), |observed| {
            observed.phase = Phase::Running;
            observed.message = None;
            observed.restarts += u32::from(again);
        })?;
        self.controller.pass("start.stored").await;
        self.started(self.request.is_some() && self.component().health.is_some()).await
    }

    /// Makes a new instance; the old one stays until the new one is good, or stops first where both cannot run.
    pub(super) async fn replace(
        &mut self,
        runtime: &Arc<dyn Runtime>,
        desired: &DesiredRecord,
        lost: bool,
    ) -> Result<(), Error> {
        self.set_old_aside(desired, lost).await?;
        self.wait_for_dependencies(desired).await?;
        self.controller.pass("make-volumes.intended").await;
        self.make_volumes(runtime, desired).await?;
        self.controller.pass("make-volumes.acted").await;
        self.controller.pass("make-volumes.stored").await;
        let attempt = if self.is_new_generation(desired) { 1 } else { self.observed().attempt + 1 };
        let plan = self.controller.plan_of(&desired.service, &desired.recipe, desired.generation, attempt);
        self.make_way(desired).await?;
        let intended = InstanceRecord {
            runtime: desired.placement.runtime.clone(),
            recipe: desired.recipe.clone(),
            id: None,
            name: plan.name(),
            generation: desired.generation,
            attempt,
            proven: false,
            pid: None,
            addresses: Vec::new(),
            ports: plan.ports.clone(),
            started: None,
        };
        self.update(Vec::new(), |observed| {
            if observed.attempt == 0 || attempt == 1 {
                observed.restarts = 0;
                observed.failures = 0;
            }
            observed.phase = Phase::Starting;
            observed.message = None;
            observed.next_try = None;
            observed.attempt = attempt;
            observed.current = Some(intended);
        })?;
        self.unproven = true;
        self.phase("starting", format!("starting on {}", desired.placement.runtime));
        if self.is_first_of_service(desired) {
            self.controller.pass("make-networks.intended").await;
            self.make_networks(runtime, &plan).await?;
            self.controller.pass("make-networks.acted").await;
            self.controller.pass("make-networks.stored").await;
        }
        self.controller.pass("run.intended").await;
        let id = self.run_plan(runtime, &plan).await?;
        self.controller.pass("run.acted").await;
        self.update(Vec::new(), |observed| {
            observed.phase = Phase::Running;
            observed.exit = None;
            if let Some(current) = &mut observed.current {
                current.id = Some(id.0.clone());
                current.started = Some(Timestamp::now());
                current.proven = desired.recipe.component.health.is_none();
            }
        })?;
        self.controller.pass("run.stored").await;
        self.started(desired.recipe.component.health.is_some()).await
    }

    /// After a start: with a probe it must still prove healthy, without one it is good.
    pub(super) async fn started(&mut self, must_prove: bool) -> Result<(), Error> {
        self.phase("running", "runs");
        let picked =
            self.observed().current.is_some_and(|current| current.ports.iter().any(|port| port.host_port.is_none()));
        if must_prove {
            self.unproven = true;
            self.phase("waiting", "waiting for its health probe");
        }
        if must_prove || picked {
            self.refresh().await;
        } else {
            self.look_later();
        }
        if !must_prove {
            self.unproven = false;
            self.retire_previous().await?;
        }
        Ok(())
    }

    /// The engine's own event of the start has the details read; should none come, a later look does.
    fn look_later(&self) {
        if let Some(handle) = self.controller.directory.get(&self.desired().name) {
            tokio::spawn(async move {
                tokio::time::sleep(LOOK_LATER).await;
                handle.send(Message::Refresh);
            });
        }
    }

    pub(super) fn is_new_generation(&self, desired: &DesiredRecord) -> bool {
        let observed = self.observed();
        let newest = observed.current.iter().chain(&observed.previous).map(|instance| instance.generation).max();
        newest != Some(desired.generation) && observed.gave_up != Some(desired.generation)
    }

    /// Nothing of the service is known to run on its runtime, so its network is probably not there yet: asking for an instance first would be in vain.
    fn is_first_of_service(&self, desired: &DesiredRecord) -> bool {
        let elsewhere = |cell: &Cell| {
            let instances = cell.observed.current.iter().chain(&cell.observed.previous);
            let made = instances.filter(|instance| instance.runtime == desired.placement.runtime);
            made.into_iter().any(|instance| instance.id.is_some())
        };
        !self.controller.directory.of_service(&desired.service).iter().any(|handle| elsewhere(&handle.cell.borrow()))
    }

    /// What ran so far becomes the instance to fall back to. One that never proved good is removed instead.
    pub(super) async fn set_old_aside(&mut self, desired: &DesiredRecord, lost: bool) -> Result<(), Error> {
        let observed = self.observed();
        let Some(current) = observed.current else {
            return Ok(());
        };
        if lost {
            return self.update(Vec::new(), |observed| observed.current = None);
        }
        let worthless = !current.proven
            || observed.previous.is_some()
            || observed.phase == Phase::Failed
            || current.generation == desired.generation;
        if worthless {
            self.discard(&current).await?;
            return self.update(Vec::new(), |observed| observed.current = None);
        }
        self.stop_probing();
        self.update(Vec::new(), |observed| observed.previous = observed.current.take())
    }

    /// Stops the old instance first where both would hold one port or write one volume.
    pub(super) async fn make_way(&mut self, desired: &DesiredRecord) -> Result<(), Error> {
        let Some(previous) = self.observed().previous else {
            return Ok(());
        };
        if !policy::clash(&previous.recipe.component, &desired.recipe.component) {
            return Ok(());
        }
        self.phase("stopping", "stopping the instance it replaces");
        self.stop_instance(&previous).await
    }

    /// Runs the plan; what turns out to be missing in the engine is made or pulled, once.
    pub(super) async fn run_plan(&mut self, runtime: &Arc<dyn Runtime>, plan: &Plan) -> Result<InstanceId, Error> {
        match runtime.run(&self.context(), plan).await {
            Err(error) if error.is_not_found() => {
                self.make_networks(runtime, plan).await?;
                self.pull_if_absent(runtime, &plan.image).await?;
                runtime.run(&self.context(), plan).await
            }
            outcome => outcome,
        }
    }
}

fn is_wanted(instance: &InstanceRecord, desired: &DesiredRecord) -> bool {
    instance.generation == desired.generation
        && instance.recipe.hash == desired.recipe.hash
        && instance.runtime == desired.placement.runtime
}
