//! Stopping and removing; what an engine has already forgotten is fine.

use std::sync::Arc;
use std::time::Duration;

use hythe_runtime::identity::{COMPONENT, SERVICE};
use hythe_runtime::{Error, Filter, Listed, Runtime, Stop};
use hythe_store::{DesiredRecord, InstanceRecord, Phase};
use serde_json::json;

use super::Worker;
use super::instance::{describe_exit, exit_record, reference};

impl Worker {
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

    pub(super) async fn stop_instance(&self, instance: &InstanceRecord) -> Result<(), Error> {
        let runtime = self.runtime(&instance.runtime)?;
        self.controller.pass("stop.intended").await;
        let outcome = runtime.stop(&self.context(), &reference(instance), &self.how_to_stop(instance)).await;
        self.controller.pass("stop.acted").await;
        match outcome {
            Err(error) if error.is_not_found() => Ok(()),
            outcome => outcome,
        }
    }

    pub(crate) fn how_to_stop(&self, instance: &InstanceRecord) -> Stop {
        let grace = self.desired().grace.unwrap_or(instance.recipe.component.stop_grace.0);
        Stop { signal: None, grace: Duration::from_millis(grace) }
    }

    /// Stops and removes an instance; absent is fine.
    pub(super) async fn discard(&self, instance: &InstanceRecord) -> Result<(), Error> {
        self.stop_instance(instance).await?;
        self.controller.pass("remove.intended").await;
        self.runtime(&instance.runtime)?.remove(&self.context(), &reference(instance)).await?;
        self.controller.pass("remove.acted").await;
        Ok(())
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
        let event =
            self.event("stopped", message.clone().unwrap_or_else(|| "stopped".to_owned()), json!({ "exit": exit }));
        self.update(vec![event], |observed| {
            observed.phase = phase;
            observed.previous = None;
            observed.exit = exit.or(observed.exit.take());
            observed.message = message;
            observed.failures = 0;
        })?;
        self.controller.pass("stop.stored").await;
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
        let leftovers = runtime.list(&self.context(), &self.filter(&desired)).await?;
        for row in leftovers {
            self.discard_row(&runtime, &row).await?;
        }
        let event = self.event("removed", "removed", json!({}));
        let changes = hythe_store::Transaction {
            forget_workloads: vec![desired.name.clone()],
            events: vec![event],
            ..hythe_store::Transaction::default()
        };
        self.controller.events.commit(&changes).map_err(crate::store_error)?;
        self.controller.directory.remove(&desired.name);
        self.controller.pass("remove.stored").await;
        self.phase("removed", "removed");
        Ok(())
    }

    pub(super) fn filter(&self, desired: &DesiredRecord) -> Filter {
        let mut filter = Filter::owned_by(&self.controller.settings.owner);
        filter.labels.insert(SERVICE.to_owned(), desired.service.clone());
        filter.labels.insert(COMPONENT.to_owned(), desired.recipe.component.name.clone());
        filter
    }

    pub(super) async fn discard_row(&self, runtime: &Arc<dyn Runtime>, row: &Listed) -> Result<(), Error> {
        let grace = Duration::from_millis(self.desired().recipe.component.stop_grace.0);
        let how = Stop { signal: None, grace };
        match runtime.stop(&self.context(), &row.id, &how).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
        runtime.remove(&self.context(), &row.id).await
    }

    /// An engine may finish making what was withdrawn meanwhile: whatever of this workload is not known goes.
    pub(super) async fn remove_latecomers(&self) {
        let desired = self.desired();
        let Ok(runtime) = self.runtime(&desired.placement.runtime) else { return };
        match runtime.list(&self.context(), &self.filter(&desired)).await {
            Ok(listed) => self.remove_strays(&listed).await,
            Err(error) => tracing::warn!(workload = desired.name, %error, "left-over instances were not looked for"),
        }
    }

    /// Instances of this workload that are neither current nor kept for a rollback are left from an interrupted step.
    pub(crate) async fn remove_strays(&self, listed: &[Listed]) {
        let observed = self.observed();
        let desired = self.desired();
        let known: Vec<&InstanceRecord> = observed.current.iter().chain(&observed.previous).collect();
        let Ok(runtime) = self.runtime(&desired.placement.runtime) else {
            return;
        };
        let is_stray = |row: &&Listed| {
            let older = row.identity.as_ref().is_some_and(|identity| identity.generation <= desired.generation);
            let is_known =
                |instance: &&InstanceRecord| instance.name == row.name || instance.id.as_ref() == Some(&row.id.0);
            older && !known.is_empty() && !known.iter().any(is_known)
        };
        for row in listed.iter().filter(is_stray) {
            if let Err(error) = self.discard_row(&runtime, row).await {
                tracing::warn!(workload = desired.name, instance = row.name, %error, "a left-over instance was not removed");
            }
        }
    }
}
