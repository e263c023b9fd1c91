//! The engine's labels are the source of truth: adopts a workload that the store does not know from the labels of its instance.

use std::sync::{Arc, PoisonError};

use hythe_runtime::identity::COMPONENT_SPEC;
use hythe_runtime::{Error, Identity, Listed, Observed, OpContext, Plan, Runtime, State};
use hythe_spec::vocabulary::EventKind;
use hythe_spec::{Component, Service};
use hythe_store::{
    ComponentSpec, Desired, DesiredRecord, InstanceRecord, Life, ObservedRecord, Phase, ServiceRecord, Transaction,
};
use serde_json::json;

use crate::Controller;
use crate::event::workload_event;
use crate::model::with_details;

/// A larger spec is not put on a label; such a workload comes back when its file is deployed again.
const LARGEST_LABEL: usize = 32 * 1024;

impl Controller {
    /// Whether the workload of an instance was undeployed on purpose, this generation of it or a later one.
    pub(crate) fn was_undeployed(&self, identity: &Identity) -> bool {
        let known = self.registry.get(&identity.workload()).is_some();
        let last = self.store.tombstone(&identity.workload()).ok().flatten();
        !known && last.is_some_and(|last| identity.generation <= last)
    }

    /// The plan of an attempt at a spec. The spec is an annotation of the instance, so that the workload can be adopted from the engine.
    pub(crate) fn plan_of(&self, service: &str, spec: &ComponentSpec, generation: u64, attempt: u32) -> Plan {
        let identity = Identity {
            owner: self.settings.owner.clone(),
            service: service.to_owned(),
            component: spec.component.name.clone(),
            generation,
            attempt,
            plan_hash: spec.hash.clone(),
        };
        let mut plan = Plan::resolve(&spec.labels, &spec.component, identity);
        plan.secrets = self.plan_secrets(&spec.component, &plan.name());
        let mut bare = spec.clone();
        bare.component.env.clear();
        if let Ok(text) = serde_json::to_string(&bare)
            && text.len() <= LARGEST_LABEL
        {
            plan.annotations.insert(COMPONENT_SPEC.to_owned(), text);
        }
        plan
    }
}

/// A service of that name with the labels of the spec and no component yet.
fn empty_service(name: &str, spec: &ComponentSpec) -> Service {
    Service {
        name: name.to_owned(),
        node: None,
        labels: spec.labels.clone(),
        active: true,
        drift: hythe_spec::Drift::Report,
        components: Vec::new(),
    }
}

/// Takes the newest instance of an unknown workload as its desired state.
///
/// # Errors
/// When the engine or the store does not answer. The store has not changed then.
pub(crate) async fn adopt(
    controller: &Arc<Controller>,
    runtime: &Arc<dyn Runtime>,
    name: &str,
    rows: &[&Listed],
) -> Result<(), Error> {
    let mut found: Vec<(&Identity, &Listed)> =
        rows.iter().filter_map(|row| row.identity.as_ref().map(|identity| (identity, *row))).collect();
    found.sort_by_key(|(identity, _)| std::cmp::Reverse((identity.generation, identity.attempt)));
    let Some((identity, row)) = found.first() else { return Ok(()) };
    let Some(current) = read_instance(runtime, name, identity, row).await? else { return Ok(()) };
    let mut previous = None;
    for (older, row) in found.iter().filter(|(older, _)| older.generation < identity.generation) {
        if previous.is_none() {
            previous = read_instance(runtime, name, older, row).await?;
        }
    }
    // An instance that was being created when the store was lost was desired to run.
    let wanted =
        rows.iter().any(|row| matches!(row.state, State::Running | State::Paused | State::Pending | State::Created));
    commit_adopted(controller, identity, name, wanted, current, previous)?;
    controller.pass(crate::crash::ADOPTED_FROM_LABELS).await;
    Ok(())
}

async fn read_instance(
    runtime: &Arc<dyn Runtime>,
    name: &str,
    identity: &Identity,
    row: &Listed,
) -> Result<Option<InstanceRecord>, Error> {
    let seen = match runtime.inspect(&OpContext::new("adopt-from-labels"), &row.id.to_ref()).await {
        Err(error) if error.is_not_found() => return Ok(None),
        outcome => outcome?,
    };
    let Some(spec) = spec(&seen) else {
        tracing::warn!(
            instance = row.name,
            "an instance of this agent does not carry its component spec: deploy its service again"
        );
        return Ok(None);
    };
    Ok(Some(instance(identity, name, spec, &seen)))
}

fn spec(seen: &Observed) -> Option<ComponentSpec> {
    let mut spec: ComponentSpec = serde_json::from_str(seen.labels.get(COMPONENT_SPEC)?).ok()?;
    spec.component.env.clone_from(&seen.env);
    Some(spec)
}

fn commit_adopted(
    controller: &Arc<Controller>,
    identity: &Identity,
    runtime: &str,
    wanted: bool,
    mut current: InstanceRecord,
    previous: Option<InstanceRecord>,
) -> Result<(), Error> {
    let spec = current.spec.clone();
    // Beside the instance that it replaces, it must still become ready.
    current.ready_once = previous.is_none() || !current.is_probed();
    let wish = if wanted { Desired::Running } else { Desired::Stopped };
    let desired = DesiredRecord::new(&identity.service, spec.clone(), identity.generation, wish, runtime);
    let name = current.name.clone();
    let now = controller.now();
    let observed = ObservedRecord {
        phase: if wanted { Phase::Pending } else { Phase::Stopped },
        attempt: identity.attempt,
        generation: identity.generation,
        requests_seen: 1,
        stop_handled: 1,
        message: None,
        current: Some(current),
        previous,
        ..ObservedRecord::new(now)
    };
    let _accepting = controller.accepting.lock().unwrap_or_else(PoisonError::into_inner);
    let service = with_component(controller, &identity.service, &spec)?;
    let event =
        workload_event(now, &desired, EventKind::Adopted, "adopted from its labels", json!({ "instance": name }));
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

/// The record of an instance, from its labels and what its engine reports.
fn instance(identity: &Identity, runtime: &str, spec: ComponentSpec, seen: &Observed) -> InstanceRecord {
    let name = seen.name.clone();
    let found = InstanceRecord::found(runtime, name, spec, identity.generation, identity.attempt);
    let life = if seen.state == State::Exited { Life::Exited } else { found.life };
    with_details(InstanceRecord { life, ..found }, seen)
}

/// The service as known so far with this component in it.
fn with_component(controller: &Controller, name: &str, spec: &ComponentSpec) -> Result<Service, hythe_runtime::Error> {
    let known = controller.store.service(name).map_err(crate::store_error)?;
    let mut service = known.map_or_else(|| empty_service(name, spec), |record| record.desired);
    let others = |component: &Component| component.name != spec.component.name;
    service.components.retain(others);
    service.components.push(spec.component.clone());
    Ok(service)
}
