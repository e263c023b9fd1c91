//! Accepting a service: compare, place, commit, then let the workloads' tasks work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use hythe_runtime::{Error, ErrorKind};
use hythe_spec::diff::Change;
use hythe_spec::vocabulary::{ComponentAction as Action, EventKind, OperationKind};
use hythe_spec::{Component, PullPolicy, Service};
use hythe_store::{ComponentSpec, Desired, DesiredRecord, NewEvent, Phase, Placement, ServiceRecord, Transaction};
use jiff::Timestamp;
use serde_json::json;

use crate::action::{DeployOptions, action, runs, spec};
use crate::event::workload_event;
use crate::model::WorkloadState;
use crate::outcome::{await_all, converge_all, is_well};
use crate::registry::WorkloadHandle;
use crate::{Controller, OperationHandle, follow, placement, restore};

/// What a deploy would do to one component.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentPlan {
    /// What happens.
    pub action: Action,
    /// What is desired afterwards.
    pub desired: DesiredRecord,
}

/// What a deploy would do. Made without any way to an engine, so it cannot write.
#[derive(Debug, Clone, PartialEq)]
pub struct DeployPlan {
    /// The service as it is desired afterwards.
    pub service: Service,
    /// One per component, the removed ones last.
    pub components: Vec<ComponentPlan>,
    /// Differences to what is desired so far.
    pub changes: Vec<Change>,
}

impl DeployPlan {
    /// Whether nothing has to be done.
    pub fn is_unchanged(&self) -> bool {
        self.changes.is_empty() && self.components.iter().all(|component| component.action == Action::Keep)
    }
}

/// An accepted deploy.
#[derive(Debug)]
pub struct Deployed {
    /// What it does.
    pub plan: DeployPlan,
    /// The operation; absent when nothing had to be done and all is well.
    pub operation: Option<Arc<OperationHandle>>,
}

impl Controller {
    /// What a deploy would do; changes nothing.
    ///
    /// # Errors
    /// `Invalid` for a service that breaks the rules, `Conflict` for a workload name another service has, `Unsupported` or `Unavailable`
    /// when a component cannot be placed.
    pub fn plan_deploy(&self, service: &Service, options: &DeployOptions) -> Result<DeployPlan, Error> {
        self.check(service)?;
        let known = self.store.service(&service.name).map_err(crate::store_error)?.map(|record| record.desired);
        let service = narrowed(&self.with_digests(service, options)?, known.as_ref(), options)?;
        let mut components = Vec::new();
        for component in &service.components {
            let touched = options.component.as_ref().is_none_or(|only| *only == component.name);
            components.push(self.plan_component(&service, component, options, touched)?);
        }
        note_needs(&mut components);
        self.note_follow(&mut components);
        components.extend(self.dropped(&service));
        let changes = match &known {
            Some(known) => hythe_spec::diff::diff(known, &service),
            None => Vec::new(),
        };
        Ok(DeployPlan { service, components, changes })
    }

    /// Accepts a service: commits what is desired, then begins the operation that makes it true.
    ///
    /// # Errors
    /// As [`Controller::plan_deploy`]; nothing is changed then.
    pub fn deploy(self: &Arc<Self>, service: &Service, options: &DeployOptions) -> Result<Deployed, Error> {
        let (plan, touched, kept) = {
            let _accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
            let plan = self.plan_deploy(service, options)?;
            if plan.is_unchanged() {
                return self.see_through(plan);
            }
            self.commit_plan(&plan)?;
            self.pass_now(crate::crash::ACCEPTED);
            let touched = in_order(&plan.components).into_iter().filter(|c| c.action != Action::Keep);
            let touched: Vec<WorkloadHandle> = touched.map(|component| self.wake_with(&component.desired)).collect();
            let kept = if options.component.is_some() { Vec::new() } else { self.kept(&plan) };
            (plan, touched, kept)
        };
        let controller = self.clone();
        let operation = self.operations.spawn(OperationKind::Deploy, &plan.service.name, |operation| async move {
            controller.pass("accept.stored").await;
            // What it does not touch may still be on its way from an earlier one.
            let (touched, kept) =
                tokio::join!(converge_all(&operation, touched), await_all(&controller, &operation, kept));
            touched.and(kept)?;
            Ok(None)
        })?;
        Ok(Deployed { plan, operation: Some(operation) })
    }

    /// What a deploy leaves as it is.
    pub(crate) fn kept(&self, plan: &DeployPlan) -> Vec<WorkloadHandle> {
        let kept = plan.components.iter().filter(|component| component.action == Action::Keep);
        kept.filter_map(|component| self.registry.get(&component.desired.name)).collect()
    }

    /// What is deployed already is not touched; where it is not well yet, its outcome is waited for as by whoever deployed it.
    pub(crate) fn see_through(self: &Arc<Self>, plan: DeployPlan) -> Result<Deployed, Error> {
        let handles = self.kept(&plan);
        if handles.iter().all(|handle| is_well(&handle.state.borrow(), self.now())) {
            return Ok(Deployed { plan, operation: None });
        }
        let controller = self.clone();
        let operation = self.operations.spawn(OperationKind::Deploy, &plan.service.name, |operation| async move {
            await_all(&controller, &operation, handles).await?;
            Ok(None)
        })?;
        Ok(Deployed { plan, operation: Some(operation) })
    }

    pub(crate) fn check(&self, service: &Service) -> Result<(), Error> {
        let problems = service.validate();
        if let Some(first) = problems.first() {
            let more = if problems.len() > 1 { format!(" (and {} more)", problems.len() - 1) } else { String::new() };
            let error = Error::new(ErrorKind::Invalid, "deploy", format!("`{}`: {}{more}", first.path, first.message));
            return Err(match &first.hint {
                Some(hint) => error.hint(hint.clone()),
                None => error,
            });
        }
        if self.settings.allow_privileged { Ok(()) } else { crate::privileged::refuse(service, &self.settings.own) }
    }

    fn plan_component(
        &self,
        service: &Service,
        component: &Component,
        options: &DeployOptions,
        touched: bool,
    ) -> Result<ComponentPlan, Error> {
        let name = service.workload_name(&component.name);
        let known = self.registry.get(&name).map(|handle| handle.read());
        if let Some(state) = known.as_ref().filter(|state| state.desired.service != service.name) {
            let text = format!("workload `{name}` belongs to service `{}`", state.desired.service);
            return Err(Error::new(ErrorKind::Conflict, "deploy", text).hint("rename the service or the component"));
        }
        let (component, restored_over) = &restore::kept(known.as_ref(), component);
        let spec = spec(service, component);
        let heal = service.drift == hythe_spec::Drift::Heal;
        let wanted = if service.active { Desired::Running } else { Desired::Stopped };
        let stay = known.as_ref().map(|state| state.desired.placement.runtime.clone());
        let placement = self.place(service, &spec, component, stay.as_deref())?;
        let action = action(known.as_ref(), &spec, wanted, heal, &placement, options.force && touched);
        let pull = options.pull.filter(|_| touched).unwrap_or(component.pull_policy);
        let fetches = touched && pull == PullPolicy::Always && wanted == Desired::Running;
        // That an image could not be fetched again is the answer to the deploy that asked for it, and to no other.
        let unfetched = known.as_ref().is_some_and(|state| state.observed.refresh_failure.is_some());
        let action = match action {
            Action::Keep if fetches => Action::Pull,
            Action::Keep if unfetched && touched => Action::Change,
            Action::Keep if known.as_ref().is_some_and(|known| known.desired.restored_over != *restored_over) => {
                Action::Change
            }
            other => other,
        };
        let refreshed = known.as_ref().map_or(0, |state| state.observed.refreshed);
        // What was undeployed under this name goes on counting: its instances' names are not used again.
        let generation = match &known {
            Some(state) => state.desired.generation,
            None => self.store.tombstone(&name).map_err(crate::store_error)?.unwrap_or_default(),
        };
        let placement = match (&known, action) {
            (Some(state), Action::Keep | Action::Change | Action::Signal | Action::Pull) => {
                state.desired.placement.clone()
            }
            _ => placement,
        };
        let generation = generation + u64::from(matches!(action, Action::Create | Action::Replace));
        let before = known.map(|state| state.desired);
        // What is only noted asks for nothing: a job that is done is not done again for it.
        let is_noted = action == Action::Change
            && !fetches
            && !unfetched
            && before.as_ref().is_some_and(|it| it.desired == wanted);
        let requests = before.as_ref().map_or(0, |known| known.requests) + u64::from(!is_noted);
        let (refresh, reload) = before.as_ref().map_or((0, 0), |known| (known.refresh, known.reload));
        let desired = DesiredRecord {
            name,
            service: service.name.clone(),
            spec,
            generation,
            desired: wanted,
            grace: None,
            placement,
            requests,
            restart: before.as_ref().map_or(0, |known| known.restart),
            heal,
            needs: before.as_ref().map(|known| known.needs.clone()).unwrap_or_default(),
            completes: service.components.iter().any(|other| {
                let dependency = other.depends_on.get(&component.name);
                dependency.is_some_and(|dependency| dependency.condition == hythe_spec::Condition::Completed)
            }),
            follow: before.map(|known| known.follow).unwrap_or_default(),
            pull,
            refresh: match action {
                _ if fetches => requests,
                // What was still to be fetched for the generation before is not fetched for this one.
                Action::Replace => refreshed,
                _ => refresh,
            },
            reload: if action == Action::Signal { requests } else { reload },
            restored_over: restored_over.clone(),
        };
        Ok(ComponentPlan { action, desired })
    }

    /// What is replaced, or started after a stop, is followed by a restart of what depends on it and says so. A job
    /// that is done is not done again.
    fn note_follow(&self, components: &mut [ComponentPlan]) {
        let was = |component: &ComponentPlan, is: fn(&WorkloadState) -> bool| {
            self.registry.get(&component.desired.name).is_some_and(|handle| is(&handle.state.borrow()))
        };
        let changes = |component: &&ComponentPlan| {
            let starts = component.action == Action::Change && was(component, |state| !runs(&state.desired));
            runs(&component.desired) && (component.action == Action::Replace || starts)
        };
        let changed = components.iter().filter(changes).map(|it| it.desired.spec.component.name.clone()).collect();
        let may_follow = |it: &&mut ComponentPlan| {
            it.action != Action::Create && was(it, |state| state.observed.phase != Phase::Completed)
        };
        let records = components.iter_mut().filter(may_follow).map(|it| &mut it.desired).collect();
        let followers = follow::note(changed, records);
        for component in components {
            let kept = matches!(component.action, Action::Keep | Action::Signal | Action::Pull);
            if kept && followers.contains(&component.desired.spec.component.name) {
                component.action = Action::Restart;
            }
        }
    }

    fn place(
        &self,
        service: &Service,
        spec: &ComponentSpec,
        component: &Component,
        stay: Option<&str>,
    ) -> Result<Placement, Error> {
        let plan = self.plan_of(&service.name, spec, 1, 1);
        placement::place(&plan, component.runtime, stay, &self.runtimes.status())
    }

    /// Workloads of the service that it no longer describes.
    fn dropped(&self, service: &Service) -> Vec<ComponentPlan> {
        let described: BTreeSet<String> = service.components.iter().map(|c| service.workload_name(&c.name)).collect();
        let gone = self.registry.of_service(&service.name).into_iter().map(|handle| handle.read().desired);
        gone.filter(|desired| !described.contains(&desired.name))
            .map(|desired| ComponentPlan {
                action: Action::Remove,
                desired: DesiredRecord { desired: Desired::Removed, requests: desired.requests + 1, ..desired },
            })
            .collect()
    }

    fn commit_plan(&self, plan: &DeployPlan) -> Result<(), Error> {
        let touched = || plan.components.iter().filter(|component| component.action != Action::Keep);
        let now = self.now();
        let changes = Transaction {
            services: vec![ServiceRecord { desired: plan.service.clone(), updated: now, removing: None }],
            desired: touched().map(|component| component.desired.clone()).collect(),
            events: touched().map(|component| deployed_event(now, component)).collect(),
            ..Transaction::default()
        };
        self.accept(&changes)
    }

    /// Shows the workload's task what is desired now; a new workload gets its task.
    pub(crate) fn wake_with(self: &Arc<Self>, desired: &DesiredRecord) -> WorkloadHandle {
        match self.registry.get(&desired.name) {
            Some(handle) => {
                handle.state.send_modify(|state| state.desired = desired.clone());
                self.registry.insert(desired.name.clone(), handle.clone());
                handle.for_request(desired.requests)
            }
            None => self.spawn_worker(desired.clone(), None).for_request(desired.requests),
        }
    }

    /// The plan of each component of a service as placement would have it, or on the named runtime.
    ///
    /// # Errors
    /// As [`Controller::plan_deploy`]; `Unavailable` when the runtime does not answer.
    pub fn explain(
        &self,
        service: &Service,
        runtime: Option<&str>,
    ) -> Result<Vec<(String, String, serde_json::Value)>, Error> {
        self.check(service)?;
        service
            .components
            .iter()
            .map(|component| {
                let planned = self.plan_component(service, component, &DeployOptions::default(), true);
                let name = match runtime {
                    Some(name) => name.to_owned(),
                    None => planned?.desired.placement.runtime,
                };
                let spec = spec(service, component);
                let known = self.registry.get(&service.workload_name(&component.name)).map(|handle| handle.read());
                let generation = known.map_or(1, |state| state.desired.generation);
                let plan = self.plan_of(&service.name, &spec, generation, 1);
                let native = self.runtimes.get(&name)?.explain(&plan)?;
                Ok((component.name.clone(), name, native))
            })
            .collect()
    }
}

/// What is new waits for what is new beside it, not for what ran before.
fn note_needs(components: &mut [ComponentPlan]) {
    let is_new = |component: &&ComponentPlan| matches!(component.action, Action::Create | Action::Replace);
    let new: BTreeMap<String, u64> = components
        .iter()
        .filter(is_new)
        .map(|component| (component.desired.spec.component.name.clone(), component.desired.generation))
        .collect();
    for component in components.iter_mut().filter(|component| is_new(&&**component)) {
        let depends_on = &component.desired.spec.component.depends_on;
        let needs = new.iter().filter(|(name, _)| depends_on.contains_key(*name));
        component.desired.needs = needs.map(|(name, generation)| (name.clone(), *generation)).collect();
    }
}

/// Dependencies first, so that whoever looks at one sees what is desired of it now; of what goes, dependents first.
fn in_order(components: &[ComponentPlan]) -> Vec<&ComponentPlan> {
    let (gone, stay): (Vec<_>, Vec<_>) = components.iter().partition(|component| component.action == Action::Remove);
    let names = |component: &&ComponentPlan| component.desired.spec.component.name.clone();
    let needs = |component: &&ComponentPlan| component.desired.spec.component.depends_on.keys().cloned().collect();
    let stay = crate::waves::dependents_first(stay, names, needs).into_iter().flatten().rev();
    stay.chain(crate::waves::dependents_first(gone, names, needs).into_iter().flatten()).collect()
}

/// With one component asked for, the others stay as they are known.
fn narrowed(service: &Service, known: Option<&Service>, options: &DeployOptions) -> Result<Service, Error> {
    let Some(only) = &options.component else {
        return Ok(service.clone());
    };
    let Some(wanted) = service.component(only) else {
        let names: Vec<&str> = service.components.iter().map(|component| component.name.as_str()).collect();
        return Err(Error::new(
            ErrorKind::NotFound,
            "deploy",
            format!("service `{}` has no component `{only}`", service.name),
        )
        .hint(format!("it has {}", names.join(", "))));
    };
    let mut narrowed = known.cloned().unwrap_or_else(|| Service { components: Vec::new(), ..service.clone() });
    match narrowed.components.iter_mut().find(|component| component.name == *only) {
        Some(component) => *component = wanted.clone(),
        None => narrowed.components.push(wanted.clone()),
    }
    Ok(narrowed)
}

fn deployed_event(now: Timestamp, component: &ComponentPlan) -> NewEvent {
    let desired = &component.desired;
    let details = json!({ "action": component.action.as_str(), "generation": desired.generation });
    workload_event(
        now,
        desired,
        EventKind::Deployed,
        format!("{} generation {}", component.action.as_str(), desired.generation),
        details,
    )
}
