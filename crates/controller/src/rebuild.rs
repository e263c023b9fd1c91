//! The engine as the witness: a workload that the store does not know is read back from its instance's labels.

use std::sync::{Arc, PoisonError};

use hythe_runtime::{Error, Identity, Listed, Observed, OpContext, Plan, Runtime, State};
use hythe_spec::{Component, Service};
use hythe_store::{
    Desired, DesiredRecord, InstanceRecord, Life, ObservedRecord, Phase, Recipe, ServiceRecord, Transaction,
};
use jiff::Timestamp;
use serde_json::json;

use crate::Controller;
use crate::event::workload_event;
use crate::worker::with_details;

/// Label with the component as it was deployed, without its environment's values (the engine has those).
pub(crate) const RECIPE: &str = "hythe.recipe";
/// A larger recipe is not put on a label; such a workload is rebuilt by deploying its file again.
const LARGEST_LABEL: usize = 32 * 1024;

impl Controller {
    /// Whether the workload of an instance was undeployed on purpose, this generation of it or a later one.
    pub(crate) fn was_forgotten(&self, identity: &Identity) -> bool {
        let known = self.directory.get(&identity.workload()).is_some();
        let last = self.store.tombstone(&identity.workload()).ok().flatten();
        !known && last.is_some_and(|last| identity.generation <= last)
    }

    /// The plan of an attempt at a recipe. The recipe goes along as a label, so that the store can be rebuilt from the engine.
    pub(crate) fn plan_of(&self, service: &str, recipe: &Recipe, generation: u64, attempt: u32) -> Plan {
        let identity = Identity {
            owner: self.settings.owner.clone(),
            service: service.to_owned(),
            component: recipe.component.name.clone(),
            generation,
            attempt,
            plan_hash: recipe.hash.clone(),
        };
        let mut plan = Plan::resolve(&empty_service(service, recipe), &recipe.component, identity);
        let mut bare = recipe.clone();
        bare.component.env.clear();
        if let Ok(text) = serde_json::to_string(&bare)
            && text.len() <= LARGEST_LABEL
        {
            plan.labels.insert(RECIPE.to_owned(), text);
        }
        plan
    }
}

/// A service of that name with the recipe's labels and no component yet.
fn empty_service(name: &str, recipe: &Recipe) -> Service {
    Service {
        name: name.to_owned(),
        node: None,
        labels: recipe.labels.clone(),
        active: true,
        drift: hythe_spec::Drift::Report,
        components: Vec::new(),
    }
}

/// Takes the newest instance of an unknown workload as its desired state.
///
/// # Errors
/// When the engine or the store does not answer: then nothing is known.
pub(crate) async fn rebuild(
    controller: &Arc<Controller>,
    runtime: &Arc<dyn Runtime>,
    name: &str,
    rows: &[&Listed],
) -> Result<(), Error> {
    let mut found: Vec<(&Identity, &Listed)> =
        rows.iter().filter_map(|row| row.identity.as_ref().map(|identity| (identity, *row))).collect();
    found.sort_by_key(|(identity, _)| std::cmp::Reverse((identity.generation, identity.attempt)));
    let Some((identity, row)) = found.first() else { return Ok(()) };
    let Some(current) = read_back(runtime, name, identity, row).await? else { return Ok(()) };
    let mut previous = None;
    for (older, row) in found.iter().filter(|(older, _)| older.generation < identity.generation) {
        if previous.is_none() {
            previous = read_back(runtime, name, older, row).await?;
        }
    }
    // What was being made when everything was forgotten was wanted.
    let wanted = rows.iter().any(|row| matches!(row.state, State::Running | State::Paused | State::Created));
    remember(controller, identity, name, wanted, current, previous)?;
    controller.pass(crate::crash::REBUILT).await;
    Ok(())
}

async fn read_back(
    runtime: &Arc<dyn Runtime>,
    name: &str,
    identity: &Identity,
    row: &Listed,
) -> Result<Option<InstanceRecord>, Error> {
    let seen = match runtime.inspect(&OpContext::new("rebuild"), &row.id).await {
        Err(error) if error.is_not_found() => return Ok(None),
        outcome => outcome?,
    };
    let Some(recipe) = recipe(&seen) else {
        tracing::warn!(instance = row.name, "an instance of ours does not carry its recipe: deploy its service again");
        return Ok(None);
    };
    Ok(Some(instance(identity, name, recipe, &seen)))
}

fn recipe(seen: &Observed) -> Option<Recipe> {
    let mut recipe: Recipe = serde_json::from_str(seen.labels.get(RECIPE)?).ok()?;
    recipe.component.env.clone_from(&seen.env);
    Some(recipe)
}

fn remember(
    controller: &Arc<Controller>,
    identity: &Identity,
    runtime: &str,
    wanted: bool,
    mut current: InstanceRecord,
    previous: Option<InstanceRecord>,
) -> Result<(), Error> {
    let recipe = current.recipe.clone();
    // Beside what it replaces it must still prove good.
    current.proven = previous.is_none() || recipe.component.health.is_none();
    let wish = if wanted { Desired::Running } else { Desired::Stopped };
    let desired = DesiredRecord::new(&identity.service, recipe.clone(), identity.generation, wish, runtime);
    let name = current.name.clone();
    let now = Timestamp::now();
    let observed = ObservedRecord {
        phase: if wanted { Phase::Pending } else { Phase::Stopped },
        attempt: identity.attempt,
        generation: identity.generation,
        asked: 1,
        halted: 1,
        message: None,
        current: Some(current),
        previous,
        ..ObservedRecord::new(now)
    };
    let _accepting = controller.accepting.lock().unwrap_or_else(PoisonError::into_inner);
    let service = with_component(controller, &identity.service, &recipe)?;
    let event = workload_event(&desired, "adopted", "read back from its labels", json!({ "instance": name }));
    let changes = Transaction {
        services: vec![ServiceRecord { desired: service, updated: now, removing: None }],
        desired: vec![desired.clone()],
        observed: Some((desired.name.clone(), observed.clone())),
        events: vec![event],
        ..Transaction::default()
    };
    controller.events.commit(&changes).map_err(crate::store_error)?;
    controller.spawn_worker(desired, Some(observed));
    Ok(())
}

/// The record of an instance as its labels and its engine tell it.
fn instance(identity: &Identity, runtime: &str, recipe: Recipe, seen: &Observed) -> InstanceRecord {
    let name = seen.name.clone();
    let found = InstanceRecord::found(runtime, name, recipe, identity.generation, identity.attempt);
    let life = if seen.state == State::Exited { Life::Exited } else { found.life };
    with_details(InstanceRecord { life, ..found }, seen)
}

/// The service as known so far with this component in it.
fn with_component(controller: &Controller, name: &str, recipe: &Recipe) -> Result<Service, hythe_runtime::Error> {
    let known = controller.store.service(name).map_err(crate::store_error)?;
    let mut service = known.map_or_else(|| empty_service(name, recipe), |record| record.desired);
    let others = |component: &Component| component.name != recipe.component.name;
    service.components.retain(others);
    service.components.push(recipe.component.clone());
    Ok(service)
}
