//! Accepting a service: compare, place, commit, then let the workloads' tasks work.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use hythe_runtime::{Error, ErrorKind, Listed};
use hythe_spec::diff::Change;
use hythe_spec::{Component, Service};
use hythe_store::{Desired, DesiredRecord, NewEvent, Phase, Placement, Recipe, ServiceRecord, Transaction};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::oneshot;

use crate::directory::{Cell, Handle};
use crate::event::workload_event;
use crate::worker::{Message, Request, is_same};
use crate::{Controller, OperationHandle, placement};

/// How to deploy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeployOptions {
    /// Only this component.
    pub component: Option<String>,
    /// Replace every instance, changed or not.
    pub force: bool,
}

/// What happens to a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is new.
    Create,
    /// It gets a new instance.
    Replace,
    /// Its instance is started or stopped.
    Change,
    /// Nothing.
    Keep,
    /// It is no longer described.
    Remove,
}

impl Action {
    /// The name used on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Change => "change",
            Self::Keep => "keep",
            Self::Remove => "remove",
        }
    }
}

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
    /// The operation; absent when nothing had to be done.
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
        let service = narrowed(service, known.as_ref(), options)?;
        let mut components = Vec::new();
        for component in &service.components {
            let touched = options.component.as_ref().is_none_or(|only| *only == component.name);
            components.push(self.plan_component(&service, component, options.force && touched)?);
        }
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
        let (plan, touched) = {
            let _accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
            let plan = self.plan_deploy(service, options)?;
            if plan.is_unchanged() {
                return Ok(Deployed { plan, operation: None });
            }
            self.commit_plan(&plan)?;
            self.pass_now(crate::crash::ACCEPTED);
            let touched: Vec<Handle> =
                plan.components.iter().filter(|c| c.action != Action::Keep).map(|c| self.take_up(&c.desired)).collect();
            (plan, touched)
        };
        let controller = self.clone();
        let operation = self.operations.spawn("deploy", &plan.service.name, |operation| async move {
            controller.pass("accept.stored").await;
            converge_all(&operation, touched).await?;
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
        let privileged = service.components.iter().find(|component| component.permissions.privileged);
        match privileged {
            Some(component) if !self.settings.allow_privileged => Err(Error::new(
                ErrorKind::Unsupported,
                "deploy",
                format!("`{}` asks to be privileged, which this agent does not allow", component.name),
            )
            .hint("set `allow_privileged = true` in the agent's configuration")),
            _ => Ok(()),
        }
    }

    fn plan_component(&self, service: &Service, component: &Component, force: bool) -> Result<ComponentPlan, Error> {
        let name = service.workload_name(&component.name);
        let known = self.directory.get(&name).map(|handle| handle.read());
        if let Some(cell) = known.as_ref().filter(|cell| cell.desired.service != service.name) {
            let text = format!("workload `{name}` belongs to service `{}`", cell.desired.service);
            return Err(Error::new(ErrorKind::Conflict, "deploy", text).hint("rename the service or the component"));
        }
        let recipe = recipe(service, component);
        let heal = service.drift == hythe_spec::Drift::Heal;
        let wanted = if service.active { Desired::Running } else { Desired::Stopped };
        let stay = known.as_ref().map(|cell| cell.desired.placement.runtime.clone());
        let placement = self.place(service, &recipe, component, stay.as_deref())?;
        let action = action(known.as_ref(), &recipe, wanted, heal, &placement, force);
        // What was undeployed under this name goes on counting: its instances' names are not used again.
        let generation = match &known {
            Some(cell) => cell.desired.generation,
            None => self.store.tombstone(&name).map_err(crate::store_error)?.unwrap_or_default(),
        };
        let placement = match (&known, action) {
            (Some(cell), Action::Keep | Action::Change) => cell.desired.placement.clone(),
            _ => placement,
        };
        let generation = generation + u64::from(matches!(action, Action::Create | Action::Replace));
        let desired = DesiredRecord {
            name,
            service: service.name.clone(),
            recipe,
            generation,
            desired: wanted,
            grace: None,
            placement,
            asked: known.as_ref().map_or(0, |cell| cell.desired.asked) + 1,
            restart: known.as_ref().map_or(0, |cell| cell.desired.restart),
            heal,
        };
        Ok(ComponentPlan { action, desired })
    }

    fn place(
        &self,
        service: &Service,
        recipe: &Recipe,
        component: &Component,
        stay: Option<&str>,
    ) -> Result<Placement, Error> {
        let plan = self.plan_of(&service.name, recipe, 1, 1);
        placement::place(&plan, component.runtime, stay, &self.runtimes.status())
    }

    /// Workloads of the service that it no longer describes.
    fn dropped(&self, service: &Service) -> Vec<ComponentPlan> {
        let described: BTreeSet<String> = service.components.iter().map(|c| service.workload_name(&c.name)).collect();
        let gone = self.directory.of_service(&service.name).into_iter().map(|handle| handle.read().desired);
        gone.filter(|desired| !described.contains(&desired.name))
            .map(|desired| ComponentPlan {
                action: Action::Remove,
                desired: DesiredRecord { desired: Desired::Removed, asked: desired.asked + 1, ..desired },
            })
            .collect()
    }

    fn commit_plan(&self, plan: &DeployPlan) -> Result<(), Error> {
        let touched = || plan.components.iter().filter(|component| component.action != Action::Keep);
        let changes = Transaction {
            services: vec![ServiceRecord { desired: plan.service.clone(), updated: Timestamp::now(), removing: None }],
            desired: touched().map(|component| component.desired.clone()).collect(),
            events: touched().map(deployed_event).collect(),
            ..Transaction::default()
        };
        self.accept(&changes)
    }

    /// An engine that has a newer generation, and not the instance that the store knows of, tells that the store was set back: what is desired is newer still.
    pub(crate) fn overtake(&self, workload: &str, rows: &[Listed]) -> Result<(), Error> {
        let newest = rows.iter().filter_map(|row| row.identity.as_ref()).map(|identity| identity.generation).max();
        let generation = newest.unwrap_or_default();
        let _accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(handle) = self.directory.get(workload) else { return Ok(()) };
        let known = handle.read().desired;
        let current = handle.read().observed.current;
        let has_current =
            current.is_some_and(|current| rows.iter().any(|row| is_same(&current, &row.id, Some(&row.name))));
        if known.generation >= generation || has_current {
            return Ok(());
        }
        let desired = DesiredRecord { generation: generation + 1, asked: known.asked + 1, ..known };
        let words = format!("its runtime has generation {generation}, the store knew {}", known.generation);
        let event = workload_event(&desired, "warning", words, json!({ "generation": desired.generation }));
        let changes = Transaction { desired: vec![desired.clone()], events: vec![event], ..Transaction::default() };
        self.events.commit(&changes).map_err(crate::store_error)?;
        handle.cell.send_modify(|cell| cell.desired = desired);
        Ok(())
    }

    /// Shows the workload's task what is desired now; a new workload gets its task.
    pub(crate) fn take_up(self: &Arc<Self>, desired: &DesiredRecord) -> Handle {
        match self.directory.get(&desired.name) {
            Some(handle) => {
                handle.cell.send_modify(|cell| cell.desired = desired.clone());
                handle
            }
            None => self.spawn_worker(desired.clone(), None),
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
                let planned = self.plan_component(service, component, false);
                let name = match runtime {
                    Some(name) => name.to_owned(),
                    None => planned?.desired.placement.runtime,
                };
                let recipe = recipe(service, component);
                let known = self.directory.get(&service.workload_name(&component.name)).map(|handle| handle.read());
                let generation = known.map_or(1, |cell| cell.desired.generation);
                let plan = self.plan_of(&service.name, &recipe, generation, 1);
                let native = self.runtimes.get(&name)?.explain(&plan)?;
                Ok((component.name.clone(), name, native))
            })
            .collect()
    }
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

pub(crate) fn recipe(service: &Service, component: &Component) -> Recipe {
    let mut hashed = component.clone();
    // What only says when and how often an instance is started does not make it another instance.
    hashed.depends_on.clear();
    hashed.runtime = None;
    for (key, value) in &service.labels {
        hashed.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    Recipe { component: component.clone(), labels: service.labels.clone(), hash: hythe_spec::fingerprint(&hashed) }
}

fn action(
    known: Option<&Cell>,
    recipe: &Recipe,
    wanted: Desired,
    heal: bool,
    placement: &Placement,
    force: bool,
) -> Action {
    let Some(cell) = known else {
        return Action::Create;
    };
    let (desired, observed) = (&cell.desired, &cell.observed);
    let failed =
        wanted == Desired::Running && (observed.phase == Phase::Failed || observed.gave_up == Some(desired.generation));
    if force || failed || desired.recipe.hash != recipe.hash || desired.placement.runtime != placement.runtime {
        Action::Replace
    } else if desired.desired != wanted || desired.recipe != *recipe || desired.heal != heal {
        Action::Change
    } else {
        Action::Keep
    }
}

fn deployed_event(component: &ComponentPlan) -> NewEvent {
    let desired = &component.desired;
    let details = json!({ "action": component.action.as_str(), "generation": desired.generation });
    workload_event(
        desired,
        "deployed",
        format!("{} generation {}", component.action.as_str(), desired.generation),
        details,
    )
}

/// Waits until every task has made true what is desired; the errors are told together.
pub(crate) async fn converge_all(operation: &Arc<OperationHandle>, handles: Vec<Handle>) -> Result<(), Error> {
    let mut waiting = Vec::new();
    for handle in handles {
        let (reply, outcome) = oneshot::channel();
        handle.send(Message::Asked(Request { operation: operation.clone(), reply }));
        waiting.push(outcome);
    }
    let mut errors = Vec::new();
    for outcome in waiting {
        if let Ok(Err(error)) = outcome.await {
            errors.push(error);
        }
    }
    merge(errors)
}

fn merge(mut errors: Vec<Error>) -> Result<(), Error> {
    match errors.len() {
        0 => Ok(()),
        1 => Err(errors.remove(0)),
        _ => {
            let texts: Vec<&str> = errors.iter().map(Error::message).collect();
            let kind = errors.first().map_or(ErrorKind::Internal, Error::kind);
            Err(Error::new(kind, "converge", texts.join("\n")))
        }
    }
}
