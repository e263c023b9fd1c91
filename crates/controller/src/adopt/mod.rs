//! Adopts a running container of another tool: the engine is only asked to inspect it.
//!
//! Its labels cannot be changed, so that it is ours stands in the store alone: a lost store forgets it, and nobody touches it then.

mod describe;

use std::sync::{Arc, PoisonError};

use hythe_runtime::{
    Compose, Error, ErrorKind, Filter, Image, InstanceId, InstanceRef, Observed, OpContext, Owner, Runtime, State,
};
use hythe_spec::vocabulary::EventKind;
use hythe_spec::{Component, ImageRef, Service};
use hythe_store::{Desired, DesiredRecord, InstanceRecord, ObservedRecord, Phase, ServiceRecord, Transaction};
use serde_json::json;

use crate::Controller;
use crate::event::workload_event;
use crate::message::Message;
use crate::model::with_details;

const OPERATION: &str = "adopt";

/// What is to be taken over, and as what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdoptOptions {
    /// Its name or id in the engine.
    pub instance: String,
    /// Name of the runtime; absent: the only one that has it.
    pub runtime: Option<String>,
    /// Service to put it in; absent: named after it.
    pub service: Option<String>,
    /// Component it becomes; absent: the service's name.
    pub component: Option<String>,
    /// Also what Compose made, what its engine restarts, and what its engine removes at its end.
    pub force: bool,
}

/// What was taken over.
#[derive(Debug, Clone, PartialEq)]
pub struct Adopted {
    /// Its workload.
    pub workload: String,
    /// The service as it is described now.
    pub service: Service,
    /// Name of its runtime.
    pub runtime: String,
    /// The container.
    pub instance: InstanceId,
    /// What deserves a look.
    pub warnings: Vec<String>,
}

/// A container that was found and may be taken over.
struct Found {
    seen: Observed,
    runtime: String,
    service: String,
    component: Component,
    warnings: Vec<String>,
}

impl Controller {
    /// Takes over an existing container, which goes on running as it does.
    ///
    /// # Errors
    /// `NotFound` where no runtime has it; `Conflict` where it does not run, where another tool manages it, or where the name of the workload is
    /// taken; `Unsupported` where it cannot be described. Nothing is changed then.
    pub async fn adopt(self: &Arc<Self>, options: &AdoptOptions) -> Result<Adopted, Error> {
        let (runtime, seen) = self.find_container(options).await?;
        self.must_be_free(&seen)?;
        let mut warnings = permitted(&seen, self.owner(), options.force)?;
        let (service, name) = names(&seen, options)?;
        let (image, config) = image_of(&runtime, &seen, &mut warnings).await?;
        let (component, unsaid) =
            describe::describe(&name, &seen, &image, config.and_then(|image| image.config).as_ref())?;
        warnings.extend(unsaid);
        let found = Found { seen, runtime: runtime.info().name.clone(), service, component, warnings };
        let adopted = self.take_over(found)?;
        self.look_again(&runtime, &adopted).await;
        Ok(adopted)
    }

    /// Inspects it again, so that the task learns what happened before it began to listen.
    async fn look_again(&self, runtime: &Arc<dyn Runtime>, adopted: &Adopted) {
        let rows = match runtime.inspect(&OpContext::new(OPERATION), &adopted.instance.to_ref()).await {
            Ok(seen) => vec![seen.listed()],
            Err(error) if error.is_not_found() => Vec::new(),
            // The watcher of an engine that does not answer looks once it does.
            Err(_) => return,
        };
        if let Some(handle) = self.registry.get(&adopted.workload) {
            handle.send(Message::Listed(rows));
        }
    }

    /// The container, on the runtime named or on the only one that has it.
    async fn find_container(&self, options: &AdoptOptions) -> Result<(Arc<dyn Runtime>, Observed), Error> {
        let names = options.runtime.clone().map_or_else(|| self.runtimes.names(), |name| vec![name]);
        let (mut found, mut silent) = (Vec::new(), None);
        for name in &names {
            let seen = match self.runtimes.get(name) {
                Ok(runtime) => inspect(runtime.as_ref(), &options.instance).await.map(|seen| (runtime, seen)),
                Err(error) => Err(error),
            };
            match seen {
                Ok(seen) => found.push(seen),
                Err(error) if error.is_not_found() && options.runtime.is_none() => {}
                Err(error) => silent = silent.or(Some(error)),
            }
        }
        match (found.len(), silent) {
            (0, Some(error)) => Err(error),
            (0, None) => {
                Err(Error::new(ErrorKind::NotFound, OPERATION, format!("no runtime has `{}`", options.instance))
                    .hint("name a container as its engine does, by name or id"))
            }
            (1, _) => Ok(found.remove(0)),
            (_, _) => {
                let places: Vec<&str> = found.iter().map(|(runtime, _)| runtime.info().name.as_str()).collect();
                let text = format!("several runtimes have `{}`: {}", options.instance, places.join(", "));
                Err(conflict(text).hint("choose one with `--runtime`"))
            }
        }
    }

    /// No workload has it already.
    fn must_be_free(&self, seen: &Observed) -> Result<(), Error> {
        let holder = self.registry.all().into_iter().find(|handle| {
            let state = handle.state.borrow();
            let mut known = state.observed.current.iter().chain(&state.observed.previous);
            known.any(|instance| instance.id.as_ref() == Some(&seen.id.0))
        });
        let Some(holder) = holder else { return Ok(()) };
        let workload = holder.read().desired.name;
        Err(conflict(format!("`{}` is an instance of workload `{workload}` already", seen.name)))
    }

    /// Commits that it is ours, with its event, in one transaction; then its task takes it up.
    fn take_over(self: &Arc<Self>, found: Found) -> Result<Adopted, Error> {
        let _accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        self.must_be_free(&found.seen)?;
        let service = self.service_with(&found)?;
        self.check(&service)?;
        let spec = crate::action::spec(&service, &found.component);
        let workload = service.workload_name(&found.component.name);
        let generation = self.store.tombstone(&workload).map_err(crate::store_error)?.unwrap_or_default() + 1;
        let Found { seen, runtime, warnings, .. } = found;
        let desired = DesiredRecord::new(&service.name, spec.clone(), generation, Desired::Running, &runtime);
        let found = InstanceRecord::found(&runtime, seen.name.clone(), spec, generation, 1);
        let current = InstanceRecord { adopted: true, ..found };
        let now = self.now();
        let observed = ObservedRecord {
            phase: Phase::Running,
            attempt: 1,
            generation,
            requests_seen: 1,
            current: Some(with_details(current, &seen)),
            ..ObservedRecord::new(now)
        };
        let details = json!({ "instance": seen.name, "id": seen.id, "warnings": warnings });
        let event =
            workload_event(now, &desired, EventKind::Adopted, format!("took over `{}` as it runs", seen.name), details);
        let changes = Transaction {
            services: vec![ServiceRecord { desired: service.clone(), updated: now, removing: None }],
            desired: vec![desired.clone()],
            observed: Some((workload.clone(), observed.clone())),
            events: vec![event],
            ..Transaction::default()
        };
        self.events.commit(&changes).map_err(crate::store_error)?;
        self.spawn_worker(desired, Some(observed));
        Ok(Adopted { workload, service, runtime, instance: seen.id, warnings })
    }

    /// The service as it is known with the component in it.
    fn service_with(&self, found: &Found) -> Result<Service, Error> {
        let component = &found.component;
        let workload = hythe_spec::service::workload_name(&found.service, &component.name);
        if let Some(handle) = self.registry.get(&workload) {
            let text = format!("workload `{workload}` exists already, in service `{}`", handle.read().desired.service);
            return Err(conflict(text).hint("give another name with `--service` or `--component`"));
        }
        let known = self.store.service(&found.service).map_err(crate::store_error)?;
        if known.as_ref().is_some_and(|record| record.removing.is_some()) {
            return Err(conflict(format!("service `{}` is being removed", found.service)).temporary(true));
        }
        let mut service = known.map_or_else(|| new_service(&found.service), |record| record.desired);
        // A container that runs makes no stopped service run.
        if !service.active {
            return Err(
                conflict(format!("service `{}` is stopped", service.name)).hint("start it first, or choose another")
            );
        }
        service.components.push(component.clone());
        Ok(service)
    }
}

fn new_service(name: &str) -> Service {
    Service {
        name: name.to_owned(),
        node: None,
        labels: std::collections::BTreeMap::new(),
        active: true,
        drift: hythe_spec::Drift::Report,
        components: Vec::new(),
    }
}

fn conflict(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Conflict, OPERATION, text)
}

/// Whether it may be adopted; returns what `force` overrode.
fn permitted(seen: &Observed, agent: &str, force: bool) -> Result<Vec<String>, Error> {
    let name = &seen.name;
    if seen.state != State::Running {
        return Err(
            conflict(format!("`{name}` is {}", seen.state)).hint("only what runs can be taken over: start it first")
        );
    }
    let mut overridden = Vec::new();
    let mut unless_forced = |what: String, hint: &str| {
        if force {
            overridden.push(what);
            return Ok(());
        }
        Err(conflict(what).hint(format!("{hint}, or take it over all the same with `--force`")))
    };
    let owner = Owner::of(&seen.labels, agent);
    if let Some((tool, called)) = owner.manager() {
        let text = format!("`{name}` belongs to {tool} (`{called}`)");
        // What Compose made it leaves alone until a user runs it again.
        if !matches!(owner, Owner::Compose(_)) {
            return Err(conflict(text).hint("a container that another tool manages is not adopted"));
        }
        unless_forced(text, "stop using Compose for it")?;
    }
    if seen.auto_remove {
        unless_forced(format!("`{name}` is removed by its engine as soon as it ends"), "make it without `--rm`")?;
    }
    if let Some(policy) = seen.engine_restart.as_deref().filter(|policy| *policy != "no") {
        let text = format!("the engine restarts `{name}` by itself (`{policy}`), which would fight with ours");
        unless_forced(text, &engine_policy_hint(name, policy))?;
    }
    Ok(overridden)
}

fn engine_policy_hint(name: &str, policy: &str) -> String {
    format!(
        "turn the engine's policy off (`update --restart=no {name}`) and write `restart = \"{policy}\"` in the service file"
    )
}

/// Service and component: as asked, else as Compose named them, else after the container.
fn names(seen: &Observed, options: &AdoptOptions) -> Result<(String, String), Error> {
    let compose = Compose::of(&seen.labels).and_then(|found| Some((found.project, found.service?)));
    let compose = compose.as_ref().map(|(project, service)| (project.as_str(), service.as_str()));
    let service = match (&options.service, compose) {
        (Some(asked), _) => asked.clone(),
        (None, Some((project, _))) => label(project),
        (None, None) => label(&seen.name),
    };
    let component = match (&options.component, compose) {
        (Some(asked), _) => asked.clone(),
        (None, Some((_, name))) => label(name),
        // In a service of its own it bears its name.
        (None, None) if options.service.is_none() => service.clone(),
        (None, None) => label(&seen.name),
    };
    if service.is_empty() || component.is_empty() {
        let text = format!("`{}` gives no name for a service", seen.name);
        return Err(Error::new(ErrorKind::Invalid, OPERATION, text).hint("give one with `--service`"));
    }
    Ok((service, component))
}

/// The nearest DNS label.
fn label(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.chars().map(plain).collect::<String>().trim_matches('-').to_owned()
}

/// The image by name, and what it says, as long as that name still names it.
async fn image_of(
    runtime: &Arc<dyn Runtime>,
    seen: &Observed,
    warnings: &mut Vec<String>,
) -> Result<(ImageRef, Option<Image>), Error> {
    let cx = OpContext::new(OPERATION);
    let unnamed = || {
        let text = format!("the image of `{}` has no name any more: `{}`", seen.name, seen.image);
        Error::new(ErrorKind::Unsupported, OPERATION, text).hint("give it one with its engine's `tag`")
    };
    let reference = seen.image.parse::<ImageRef>().ok();
    let Some(images) = runtime.images() else { return reference.map(|image| (image, None)).ok_or_else(unnamed) };
    let is_its = |image: &Image| seen.image_id.as_ref().is_none_or(|id| *id == image.id);
    if let Some(reference) = &reference {
        match images.get(&cx, reference).await {
            Ok(image) if is_its(&image) => return Ok((reference.clone(), Some(image))),
            Err(error) if !error.is_not_found() => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    let others = images.list(&cx).await?;
    let named = others.iter().filter(|image| is_its(image)).flat_map(|image| &image.tags);
    if let Some(other) = named.filter_map(|tag| tag.parse::<ImageRef>().ok()).next() {
        let image = images.get(&cx, &other).await?;
        return Ok((other, Some(image)));
    }
    let moved = reference.filter(|name| others.iter().any(|image| image.tags.contains(&name.to_string())));
    let moved = moved.ok_or_else(unnamed)?;
    warnings.push(format!("`{moved}` names another image by now: a replacement would run that one"));
    Ok((moved, None))
}

/// What a user calls it: its name, its id, or the first digits of its id, as the engines' own programs take them.
async fn inspect(runtime: &dyn Runtime, named: &str) -> Result<Observed, Error> {
    let cx = OpContext::new(OPERATION);
    let absent = match runtime.inspect(&cx, &InstanceRef::name(named)).await {
        Err(error) if error.is_not_found() && !named.is_empty() => error,
        found => return found,
    };
    let rows = runtime.list(&cx, &Filter::default()).await?;
    let mut fits = rows.iter().filter(|row| row.id.0.starts_with(named));
    match (fits.next(), fits.next()) {
        (Some(row), None) => runtime.inspect(&cx, &row.id.to_ref()).await,
        (Some(_), Some(_)) => {
            let text = format!("several containers of `{}` have an id that begins with `{named}`", runtime.info().name);
            Err(conflict(text).hint("write more digits of it"))
        }
        (None, _) => Err(absent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_s_name_becomes_a_dns_label() {
        assert_eq!(label("shop_web_1"), "shop-web-1");
        assert_eq!(label("My.App"), "my-app");
        assert_eq!(label("__"), "");
    }
}
