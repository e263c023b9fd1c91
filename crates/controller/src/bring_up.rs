//! The steps that change engines: bring up, replace, roll back, stop, remove. Each is safe to repeat after a crash anywhere in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use hythe_runtime::identity::{COMPONENT, OWNER, SERVICE};
use hythe_runtime::{
    Error, ErrorKind, Filter, Identity, InstanceId, Listed, LogOptions, NetworkSpec, Observed,
    Plan, PlanNetwork, Progress, Runtime, State, VolumeSpec,
};
use hythe_spec::{Condition, ImageRef, MountSource, Network};
use hythe_store::{Desired, DesiredRecord, HealthState, InstanceRecord, Phase};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::mpsc;

use crate::directory::Cell;
use crate::operation::Report;
use crate::policy;
use crate::worker::{Message, Worker, describe_exit, exit_record, reference, with_details};

/// Log lines quoted when a workload fails.
const QUOTED_LINES: u64 = 10;

impl Worker {
    /// Makes the current instance the one of the desired generation, running.
    pub(crate) async fn bring_up(&mut self) -> Result<(), Error> {
        let desired = self.desired();
        let observed = self.observed();
        if observed.gave_up == Some(desired.generation) && self.request.is_none() {
            return self.keep_up().await;
        }
        let runtime = self.runtime(&desired.placement.runtime)?;
        let made = observed
            .current
            .as_ref()
            .is_some_and(|current| is_wanted(current, &desired));
        match if made {
            self.inspect_current().await?
        } else {
            None
        } {
            Some(seen) if seen.state == State::Running => self.adopt(&seen),
            Some(seen) => self.start_again(&runtime, seen).await,
            None => self.replace(&runtime, &desired, made).await,
        }
    }

    /// A rolled back workload: the old instance is kept running.
    async fn keep_up(&mut self) -> Result<(), Error> {
        let Some(current) = self.observed().current else {
            return Ok(());
        };
        let runtime = self.runtime(&current.runtime)?;
        match self.inspect_current().await? {
            Some(seen) if seen.state == State::Running => self.adopt(&seen),
            Some(seen) => self.start_again(&runtime, seen).await,
            None => Err(Error::new(
                ErrorKind::Conflict,
                "start",
                "the instance it was rolled back to is gone",
            )),
        }
    }

    fn adopt(&mut self, seen: &Observed) -> Result<(), Error> {
        let proven = self.was_healthy(seen);
        self.update(Vec::new(), |observed| {
            observed.phase = Phase::Running;
            observed.message = None;
            observed.next_try = None;
            observed.current = observed
                .current
                .take()
                .map(|current| with_details(current, seen));
        })?;
        self.phase("running", "runs already");
        self.probe(seen, proven);
        Ok(())
    }

    async fn start_again(
        &mut self,
        runtime: &Arc<dyn Runtime>,
        seen: Observed,
    ) -> Result<(), Error> {
        self.wait_for_dependencies(&self.desired()).await?;
        let again = self.observed().phase == Phase::Restarting;
        self.update(Vec::new(), |observed| {
            observed.phase = Phase::Starting;
            observed.next_try = None;
        })?;
        self.phase("starting", "starting");
        runtime.start(&self.context(), &seen.id).await?;
        self.update(Vec::new(), |observed| {
            observed.phase = Phase::Running;
            observed.message = None;
            observed.restarts += u32::from(again);
        })?;
        self.started(self.request.is_some() && self.desired().recipe.component.health.is_some())
            .await
    }

    /// Makes a new instance; the old one stays until the new one is good, or stops first where both cannot run.
    async fn replace(
        &mut self,
        runtime: &Arc<dyn Runtime>,
        desired: &DesiredRecord,
        lost: bool,
    ) -> Result<(), Error> {
        self.set_old_aside(desired, lost).await?;
        self.wait_for_dependencies(desired).await?;
        self.make_volumes(runtime, desired).await?;
        let attempt = if self.is_new_generation(desired) {
            1
        } else {
            self.observed().attempt + 1
        };
        let plan = self.plan(desired, attempt);
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
        self.phase(
            "starting",
            format!("starting on {}", desired.placement.runtime),
        );
        let id = self.run_plan(runtime, &plan).await?;
        self.update(Vec::new(), |observed| {
            observed.phase = Phase::Running;
            observed.exit = None;
            if let Some(current) = &mut observed.current {
                current.id = Some(id.0.clone());
                current.started = Some(Timestamp::now());
            }
        })?;
        self.started(desired.recipe.component.health.is_some())
            .await
    }

    /// After a start: with a probe it must still prove healthy, without one it is good.
    async fn started(&mut self, must_prove: bool) -> Result<(), Error> {
        self.phase("running", "runs");
        let picked = self
            .observed()
            .current
            .is_some_and(|current| current.ports.iter().any(|port| port.host_port.is_none()));
        if must_prove {
            self.unproven = true;
            self.phase("waiting", "waiting for its health probe");
        }
        if must_prove || picked {
            self.refresh().await;
        } else if let Some(handle) = self.controller.directory.get(&self.desired().name) {
            handle.send(Message::Refresh);
        }
        if !must_prove {
            self.unproven = false;
            self.retire_previous().await?;
        }
        Ok(())
    }

    fn is_new_generation(&self, desired: &DesiredRecord) -> bool {
        let observed = self.observed();
        let newest = observed
            .current
            .iter()
            .chain(&observed.previous)
            .map(|instance| instance.generation)
            .max();
        newest != Some(desired.generation) && observed.gave_up != Some(desired.generation)
    }

    /// What ran so far becomes the instance to fall back to. One that never proved good is removed instead.
    async fn set_old_aside(&mut self, desired: &DesiredRecord, lost: bool) -> Result<(), Error> {
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
        self.update(Vec::new(), |observed| {
            observed.previous = observed.current.take()
        })
    }

    /// Stops the old instance first where both would hold one port or write one volume.
    async fn make_way(&mut self, desired: &DesiredRecord) -> Result<(), Error> {
        let Some(previous) = self.observed().previous else {
            return Ok(());
        };
        if !policy::clash(&previous.recipe.component, &desired.recipe.component) {
            return Ok(());
        }
        self.phase("stopping", "stopping the instance it replaces");
        self.stop_instance(&previous).await
    }

    /// The plan of an attempt; the recipe goes along as a label, so that the store can be rebuilt from the engine.
    fn plan(&self, desired: &DesiredRecord, attempt: u32) -> Plan {
        let identity = Identity {
            owner: self.controller.settings.owner.clone(),
            service: desired.service.clone(),
            component: desired.recipe.component.name.clone(),
            generation: desired.generation,
            attempt,
            plan_hash: desired.recipe.hash.clone(),
        };
        crate::rebuild::plan_with_recipe(&desired.service, &desired.recipe, identity)
    }

    /// Runs the plan; what turns out to be missing in the engine is made or pulled, once.
    async fn run_plan(
        &mut self,
        runtime: &Arc<dyn Runtime>,
        plan: &Plan,
    ) -> Result<InstanceId, Error> {
        match runtime.run(&self.context(), plan).await {
            Err(error) if error.is_not_found() => {
                self.make_networks(runtime, plan).await?;
                self.pull_if_absent(runtime, &plan.image).await?;
                runtime.run(&self.context(), plan).await
            }
            outcome => outcome,
        }
    }

    async fn make_networks(&self, runtime: &Arc<dyn Runtime>, plan: &Plan) -> Result<(), Error> {
        let own = self.desired().recipe.component.network == Network::Service;
        let (PlanNetwork::Bridged { attachments }, Some(networks), true) =
            (&plan.network, runtime.networks(), own)
        else {
            return Ok(());
        };
        for attachment in attachments {
            let spec = NetworkSpec {
                name: attachment.network.clone(),
                labels: self.own_labels(),
                internal: false,
            };
            networks.ensure(&self.context(), &spec).await?;
        }
        Ok(())
    }

    async fn make_volumes(
        &self,
        runtime: &Arc<dyn Runtime>,
        desired: &DesiredRecord,
    ) -> Result<(), Error> {
        let Some(volumes) = runtime.volumes() else {
            return Ok(());
        };
        for mount in &desired.recipe.component.mounts {
            if let MountSource::Volume {
                name,
                external: false,
            } = &mount.source
            {
                let name = hythe_runtime::plan::volume_name(&desired.service, name);
                volumes
                    .ensure(
                        &self.context(),
                        &VolumeSpec {
                            name,
                            labels: self.own_labels(),
                        },
                    )
                    .await?;
            }
        }
        Ok(())
    }

    fn own_labels(&self) -> BTreeMap<String, String> {
        let owner = self.controller.settings.owner.clone();
        BTreeMap::from([
            (OWNER.to_owned(), owner),
            (SERVICE.to_owned(), self.desired().service),
        ])
    }

    async fn pull_if_absent(
        &mut self,
        runtime: &Arc<dyn Runtime>,
        image: &ImageRef,
    ) -> Result<(), Error> {
        let Some(images) = runtime.images() else {
            return Ok(());
        };
        match images.get(&self.context(), image).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        self.update(Vec::new(), |observed| observed.phase = Phase::Pulling)?;
        self.phase("pulling", format!("pulling {image}"));
        let (sink, reports) = mpsc::channel(64);
        let telling = self.tell_pull(reports);
        let (pulled, ()) = tokio::join!(
            async {
                let pulled = images.pull(&self.context(), image, &sink).await;
                drop(sink);
                pulled
            },
            telling
        );
        let event = self.event(
            "image.pulled",
            format!("pulled {image}"),
            json!({ "image": image }),
        );
        pulled?;
        self.update(vec![event], |observed| observed.phase = Phase::Starting)
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

    /// Waits until every dependency is as far as it must be.
    async fn wait_for_dependencies(&self, desired: &DesiredRecord) -> Result<(), Error> {
        for (name, condition) in &desired.recipe.component.depends_on {
            let workload = hythe_spec::service::workload_name(&desired.service, name);
            let Some(handle) = self.controller.directory.get(&workload) else {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    "depend",
                    format!("`{workload}` is not deployed"),
                ));
            };
            let mut cell = handle.cell.subscribe();
            if !matches!(progress_of(&cell.borrow(), *condition), Some(Ok(()))) {
                self.phase("waiting", format!("waiting for {name}"));
            }
            let reached = cell
                .wait_for(|cell| progress_of(cell, *condition).is_some())
                .await;
            let outcome = reached.ok().and_then(|cell| progress_of(&cell, *condition));
            if let Some(Err(reason)) = outcome {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "depend",
                    format!("its dependency `{name}` {reason}"),
                ));
            }
        }
        Ok(())
    }

    /// The current instance is good; the old one is no longer needed.
    pub(crate) async fn retire_previous(&mut self) -> Result<(), Error> {
        let previous = self.observed().previous;
        if let Some(previous) = &previous {
            self.phase("removing", "removing the instance it replaced");
            self.discard(previous).await?;
        }
        self.update(Vec::new(), |observed| {
            observed.previous = None;
            if previous.is_some() {
                observed.gave_up = None;
            }
            if let Some(current) = &mut observed.current {
                current.proven = true;
            }
        })
    }

    /// An attempt failed for good: back to the old instance where there is one.
    pub(crate) async fn fail(&mut self, error: Error) {
        let logs = self.last_lines().await;
        let error = quote(error, &logs);
        self.unproven = false;
        let rolled_back = match self.observed().previous {
            Some(previous) => Some(self.roll_back(previous, &error).await),
            None => None,
        };
        match rolled_back {
            Some(Ok(())) => {}
            Some(Err(second)) => self.failed(
                &format!(
                    "{}; rolling back failed too: {}",
                    error.message(),
                    second.message()
                ),
                &logs,
            ),
            None => self.failed(error.message(), &logs),
        }
        self.phase("failed", error.message());
        self.answer(Err(error));
    }

    fn failed(&self, reason: &str, logs: &[String]) {
        let unhealthy = self.observed().health == HealthState::Unhealthy;
        let event = self.event(
            "failed",
            reason,
            json!({ "logs": logs, "exit": self.observed().exit }),
        );
        self.note(vec![event], |observed| {
            observed.message = Some(reason.to_owned());
            observed.next_try = None;
            if !unhealthy {
                observed.phase = Phase::Failed;
            }
        });
    }

    async fn roll_back(&mut self, previous: InstanceRecord, error: &Error) -> Result<(), Error> {
        self.stop_probing();
        let generation = self.desired().generation;
        self.phase(
            "removing",
            format!("rolling back to generation {}", previous.generation),
        );
        if let Some(current) = self.observed().current {
            self.discard(&current).await?;
        }
        let runtime = self.runtime(&previous.runtime)?;
        runtime
            .start(&self.context(), &reference(&previous))
            .await?;
        let message = format!(
            "generation {generation} failed, rolled back to {}: {}",
            previous.generation,
            error.message()
        );
        let event = self.event(
            "rolled-back",
            message.clone(),
            json!({ "generation": previous.generation }),
        );
        self.update(vec![event], |observed| {
            observed.current = observed.previous.take();
            observed.gave_up = Some(generation);
            observed.phase = Phase::Running;
            observed.message = Some(message);
            observed.next_try = None;
        })?;
        self.refresh().await;
        Ok(())
    }

    async fn last_lines(&self) -> Vec<String> {
        let Some(current) = self.observed().current else {
            return Vec::new();
        };
        let Ok(runtime) = self.runtime(&current.runtime) else {
            return Vec::new();
        };
        let Some(logs) = runtime.logs() else {
            return Vec::new();
        };
        let options = LogOptions {
            tail: Some(QUOTED_LINES),
            ..LogOptions::default()
        };
        let context = self.context().within(std::time::Duration::from_secs(5));
        let Ok(stream) = logs.logs(&context, &reference(&current), &options).await else {
            return Vec::new();
        };
        stream
            .filter_map(|line| std::future::ready(line.ok()))
            .map(|line| String::from_utf8_lossy(&line.line).into_owned())
            .collect()
            .await
    }

    pub(crate) async fn restart_current(&mut self) -> Result<(), Error> {
        let Some(current) = self.observed().current else {
            return self.bring_up().await;
        };
        self.stop_probing();
        self.update(Vec::new(), |observed| observed.phase = Phase::Stopping)?;
        self.phase("stopping", "stopping");
        self.stop_instance(&current).await?;
        self.bring_up().await
    }

    async fn stop_instance(&self, instance: &InstanceRecord) -> Result<(), Error> {
        let runtime = self.runtime(&instance.runtime)?;
        match runtime
            .stop(
                &self.context(),
                &reference(instance),
                &self.how_to_stop(instance),
            )
            .await
        {
            Err(error) if error.is_not_found() => Ok(()),
            outcome => outcome,
        }
    }

    /// Stops and removes an instance; absent is fine.
    async fn discard(&self, instance: &InstanceRecord) -> Result<(), Error> {
        self.stop_instance(instance).await?;
        self.runtime(&instance.runtime)?
            .remove(&self.context(), &reference(instance))
            .await
    }

    /// Stops what runs; an instance that was being replaced goes.
    pub(crate) async fn stop_all(&mut self, phase: Phase) -> Result<(), Error> {
        self.unproven = false;
        self.stop_probing();
        let observed = self.observed();
        let Some(current) = observed.current else {
            return self.update(Vec::new(), |observed| observed.phase = phase);
        };
        self.update(Vec::new(), |observed| {
            observed.phase = Phase::Stopping;
            observed.next_try = None;
        })?;
        self.phase("stopping", "stopping");
        self.stop_instance(&current).await?;
        if let Some(previous) = &observed.previous {
            self.discard(previous).await?;
        }
        let exit = self.inspect_current().await?.as_ref().and_then(exit_record);
        let message = exit.as_ref().map(describe_exit);
        let event = self.event(
            "stopped",
            message.clone().unwrap_or_else(|| "stopped".to_owned()),
            json!({ "exit": exit }),
        );
        self.update(vec![event], |observed| {
            observed.phase = phase;
            observed.previous = None;
            observed.exit = exit.or(observed.exit.take());
            observed.message = message;
            observed.failures = 0;
        })?;
        self.phase("stopped", "stopped");
        Ok(())
    }

    /// Removes every instance that the engine has of this workload, then forgets it.
    pub(crate) async fn remove_all(&mut self) -> Result<(), Error> {
        self.unproven = false;
        self.stop_probing();
        self.update(Vec::new(), |observed| {
            observed.phase = Phase::Removing;
            observed.next_try = None;
        })?;
        self.phase("removing", "removing");
        let observed = self.observed();
        for instance in observed.current.iter().chain(&observed.previous) {
            self.discard(instance).await?;
        }
        let desired = self.desired();
        let runtime = self.runtime(&desired.placement.runtime)?;
        let leftovers = runtime
            .list(&self.context(), &self.filter(&desired))
            .await?;
        for row in leftovers {
            self.discard_row(&runtime, &row).await?;
        }
        let event = self.event("removed", "removed", json!({}));
        let changes = hythe_store::Transaction {
            forget_workloads: vec![desired.name.clone()],
            events: vec![event],
            ..hythe_store::Transaction::default()
        };
        self.controller
            .events
            .commit(&changes)
            .map_err(crate::store_error)?;
        self.controller.directory.remove(&desired.name);
        self.phase("removed", "removed");
        Ok(())
    }

    fn filter(&self, desired: &DesiredRecord) -> Filter {
        let mut filter = Filter::owned_by(&self.controller.settings.owner);
        filter
            .labels
            .insert(SERVICE.to_owned(), desired.service.clone());
        filter
            .labels
            .insert(COMPONENT.to_owned(), desired.recipe.component.name.clone());
        filter
    }

    async fn discard_row(&self, runtime: &Arc<dyn Runtime>, row: &Listed) -> Result<(), Error> {
        let grace = std::time::Duration::from_millis(self.desired().recipe.component.stop_grace.0);
        let how = hythe_runtime::Stop {
            signal: None,
            grace,
        };
        match runtime.stop(&self.context(), &row.id, &how).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
        runtime.remove(&self.context(), &row.id).await
    }

    /// Instances of this workload that are neither current nor kept for a rollback are left from an interrupted step.
    pub(crate) async fn remove_strays(&self, listed: &[Listed]) {
        let observed = self.observed();
        let desired = self.desired();
        let known: Vec<&str> = observed
            .current
            .iter()
            .chain(&observed.previous)
            .map(|instance| instance.name.as_str())
            .collect();
        let Ok(runtime) = self.runtime(&desired.placement.runtime) else {
            return;
        };
        let is_stray = |row: &&Listed| {
            let older = row
                .identity
                .as_ref()
                .is_some_and(|identity| identity.generation <= desired.generation);
            older && !known.is_empty() && !known.contains(&row.name.as_str())
        };
        for row in listed.iter().filter(is_stray) {
            if let Err(error) = self.discard_row(&runtime, row).await {
                tracing::warn!(workload = desired.name, instance = row.name, %error, "a left-over instance was not removed");
            }
        }
    }
}

fn is_wanted(instance: &InstanceRecord, desired: &DesiredRecord) -> bool {
    instance.generation == desired.generation
        && instance.recipe.hash == desired.recipe.hash
        && instance.runtime == desired.placement.runtime
}

/// How far a dependency is: `None` not yet, else reached or why it never will be.
fn progress_of(cell: &Cell, condition: Condition) -> Option<Result<(), String>> {
    let observed = &cell.observed;
    let up_to_date = observed
        .current
        .as_ref()
        .is_some_and(|current| current.generation == cell.desired.generation)
        || observed.gave_up == Some(cell.desired.generation);
    if cell.desired.desired != Desired::Running {
        return Some(Err("is stopped".to_owned()));
    }
    match (observed.phase, condition) {
        (Phase::Failed, _) => Some(Err(format!(
            "failed: {}",
            observed.message.as_deref().unwrap_or("no reason known")
        ))),
        _ if !up_to_date => None,
        (Phase::Completed, Condition::Completed | Condition::Started) => Some(Ok(())),
        (Phase::Completed, Condition::Healthy) => Some(Err("has ended".to_owned())),
        (Phase::Running, Condition::Started) => Some(Ok(())),
        (Phase::Running, Condition::Healthy) if observed.health == HealthState::Healthy => {
            Some(Ok(()))
        }
        (Phase::Running, Condition::Healthy) if observed.health == HealthState::Unhealthy => {
            Some(Err("is not healthy".to_owned()))
        }
        _ => None,
    }
}

fn quote(error: Error, logs: &[String]) -> Error {
    if logs.is_empty() {
        return error;
    }
    let text = format!(
        "{}\nits last log lines:\n  {}",
        error.message(),
        logs.join("\n  ")
    );
    let quoted = Error::new(error.kind(), error.operation(), text);
    match error.next_step() {
        Some(hint) => quoted.hint(hint.to_owned()),
        None => quoted,
    }
}
