//! The engine as the witness: a workload that the store does not know is read back from its instance's labels.

use std::sync::Arc;

use hythe_runtime::{Identity, Listed, Observed, OpContext, Plan, Runtime};
use hythe_spec::{Component, Service};
use hythe_store::{
    Desired, DesiredRecord, InstanceRecord, ObservedRecord, Phase, Placement, Recipe, ServiceRecord, Transaction,
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
pub(crate) async fn rebuild(controller: &Arc<Controller>, runtime: &Arc<dyn Runtime>, name: &str, rows: &[Listed]) {
    let newest = rows.iter().filter_map(|row| row.identity.as_ref().map(|identity| (identity, row)));
    let Some((identity, row)) = newest.max_by_key(|(identity, _)| (identity.generation, identity.attempt)) else {
        return;
    };
    let seen = match runtime.inspect(&OpContext::new("rebuild"), &row.id).await {
        Ok(seen) => seen,
        Err(error) => {
            tracing::warn!(instance = row.name, %error, "an instance of ours could not be read back");
            return;
        }
    };
    let Some(recipe) = recipe(&seen) else {
        tracing::warn!(instance = row.name, "an instance of ours does not carry its recipe: deploy its service again");
        return;
    };
    if let Err(error) = remember(controller, identity, name, recipe, &seen) {
        tracing::warn!(instance = row.name, %error, "an instance of ours could not be read back");
    }
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
    recipe: Recipe,
    seen: &Observed,
) -> Result<(), hythe_runtime::Error> {
    let running = seen.state == hythe_runtime::State::Running;
    let desired = DesiredRecord {
        name: identity.workload(),
        service: identity.service.clone(),
        recipe: recipe.clone(),
        generation: identity.generation,
        desired: if running { Desired::Running } else { Desired::Stopped },
        grace: None,
        placement: Placement { runtime: runtime.to_owned(), rejected: Vec::new() },
    };
    let current = InstanceRecord {
        runtime: runtime.to_owned(),
        recipe: recipe.clone(),
        id: Some(seen.id.0.clone()),
        name: seen.name.clone(),
        generation: identity.generation,
        attempt: identity.attempt,
        proven: true,
        pid: None,
        addresses: Vec::new(),
        ports: Vec::new(),
        started: None,
    };
    let now = Timestamp::now();
    let observed = ObservedRecord {
        phase: if running { Phase::Running } else { Phase::Stopped },
        attempt: identity.attempt,
        current: Some(with_details(current, seen)),
        ..ObservedRecord::new(now)
    };
    let service = with_component(controller, &identity.service, &recipe)?;
    let event = workload_event(&desired, "adopted", "read back from its labels", json!({ "instance": seen.name }));
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

/// The service as known so far with this component in it.
fn with_component(controller: &Controller, name: &str, recipe: &Recipe) -> Result<Service, hythe_runtime::Error> {
    let known = controller.store.service(name).map_err(crate::store_error)?;
    let mut service = known.map_or_else(|| empty_service(name, recipe), |record| record.desired);
    let others = |component: &Component| component.name != recipe.component.name;
    service.components.retain(others);
    service.components.push(recipe.component.clone());
    Ok(service)
}
