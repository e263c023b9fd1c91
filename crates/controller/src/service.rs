//! What clients ask of services and workloads besides deploying: stop, start, restart, remove, look.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use futures_util::future::BoxFuture;
use hythe_runtime::identity::{OWNER, SERVICE};
use hythe_runtime::{Error, ErrorKind, InstanceId, OpContext, Runtime};
use hythe_store::{Desired, DesiredRecord, NewEvent, Removing, ServiceRecord, Transaction};
use jiff::Timestamp;
use serde_json::json;

use crate::deploy::converge_all;
use crate::directory::{Cell, Handle};
use crate::event::workload_event;
use crate::worker::reference;
use crate::{Controller, OperationHandle, policy};

impl Controller {
    /// All services, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn services(&self) -> Result<Vec<ServiceRecord>, Error> {
        self.store.services().map_err(crate::store_error)
    }

    /// One service.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn service(&self, name: &str) -> Result<ServiceRecord, Error> {
        self.store.service(name).map_err(crate::store_error)?.ok_or_else(|| missing_service(name))
    }

    /// All workloads, by name.
    pub fn workloads(&self) -> Vec<Cell> {
        self.directory.all().iter().map(Handle::read).collect()
    }

    /// Workloads of a service, by name.
    pub fn workloads_of(&self, service: &str) -> Vec<Cell> {
        self.directory.of_service(service).iter().map(Handle::read).collect()
    }

    /// One workload.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn workload(&self, name: &str) -> Result<Cell, Error> {
        Ok(self.handle(name)?.read())
    }

    /// The runtime and current instance of a workload.
    ///
    /// # Errors
    /// `NotFound` for the workload, `Conflict` when it has no instance, `Unavailable` when its runtime does not answer.
    pub fn instance(&self, name: &str) -> Result<(Arc<dyn Runtime>, InstanceId), Error> {
        let cell = self.workload(name)?;
        let current = cell.observed.current.ok_or_else(|| {
            Error::new(ErrorKind::Conflict, "instance", format!("workload `{name}` has no instance"))
                .hint("`hythe status` says why")
        })?;
        Ok((self.runtimes.get(&current.runtime)?, reference(&current)))
    }

    /// Stops a service or one component of it, dependents first.
    ///
    /// # Errors
    /// `NotFound`; nothing is changed then.
    pub fn stop(
        self: &Arc<Self>,
        service: &str,
        component: Option<&str>,
        grace: Option<u64>,
    ) -> Result<Arc<OperationHandle>, Error> {
        let handles = self.desire(service, component, Wish::Stop, grace)?;
        self.operations.spawn("stop", service, |operation| async move {
            one_after_another(&operation, dependents_first(handles)).await?;
            Ok(None)
        })
    }

    /// Starts a stopped service or component again.
    ///
    /// # Errors
    /// `NotFound`; nothing is changed then.
    pub fn start_service(
        self: &Arc<Self>,
        service: &str,
        component: Option<&str>,
    ) -> Result<Arc<OperationHandle>, Error> {
        let handles = self.desire(service, component, Wish::Start, None)?;
        self.operations.spawn("start", service, |operation| async move {
            converge_all(&operation, handles).await?;
            Ok(None)
        })
    }

    /// Starts the main processes of a service or component anew, in the same instances.
    ///
    /// # Errors
    /// `NotFound`; nothing is changed then.
    pub fn restart(
        self: &Arc<Self>,
        service: &str,
        component: Option<&str>,
        grace: Option<u64>,
    ) -> Result<Arc<OperationHandle>, Error> {
        let handles = self.desire(service, component, Wish::Restart, grace)?;
        self.operations.spawn("restart", service, |operation| async move {
            converge_all(&operation, handles).await?;
            Ok(None)
        })
    }

    /// Removes a service: its instances, its network, and where asked its volumes. Taken up again after a crash.
    ///
    /// # Errors
    /// `NotFound`; nothing is changed then.
    pub fn undeploy(self: &Arc<Self>, service: &str, volumes: bool) -> Result<Arc<OperationHandle>, Error> {
        self.remove(service, Wish::Remove { volumes, at_rest: false })
    }

    /// As [`Controller::undeploy`], refused with `Conflict` where any of it should run or is not known to be at rest.
    ///
    /// # Errors
    /// `NotFound`, `Conflict`; nothing is changed then.
    pub(crate) fn undeploy_at_rest(
        self: &Arc<Self>,
        service: &str,
        volumes: bool,
    ) -> Result<Arc<OperationHandle>, Error> {
        self.remove(service, Wish::Remove { volumes, at_rest: true })
    }

    fn remove(self: &Arc<Self>, service: &str, wish: Wish) -> Result<Arc<OperationHandle>, Error> {
        let handles = self.desire(service, None, wish, None)?;
        let removing = self.service(service)?.removing.unwrap_or_default();
        let (controller, name) = (self.clone(), service.to_owned());
        self.operations.spawn("undeploy", service, move |operation| async move {
            let outcome = controller.remove_all(&operation, &name, &removing, handles).await;
            if outcome.is_err() {
                controller.spawn(controller.clone().remove_later(name));
            }
            outcome.map(|()| None)
        })
    }

    async fn remove_all(
        &self,
        operation: &Arc<OperationHandle>,
        service: &str,
        removing: &Removing,
        handles: Vec<Handle>,
    ) -> Result<(), Error> {
        one_after_another(operation, dependents_first(handles)).await?;
        for runtime in &removing.runtimes {
            self.remove_belongings(operation, runtime, service, removing.volumes).await?;
        }
        self.forget(service)
    }

    /// A removal that failed goes on by itself: the workloads' own tasks go on with theirs, then what belongs to the service follows.
    fn remove_later(self: Arc<Self>, service: String) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            for failures in 1.. {
                tokio::time::sleep(policy::delay(failures)).await;
                let Ok(Some(Removing { volumes, runtimes })) =
                    self.store.service(&service).map(|record| record.and_then(|record| record.removing))
                else {
                    return;
                };
                let answer = runtimes.iter().all(|name| self.runtimes.get(name).is_ok());
                if answer && self.directory.of_service(&service).is_empty() {
                    if let Err(error) = self.undeploy(&service, volumes) {
                        tracing::warn!(service, %error, "its removal could not be taken up again");
                    }
                    return;
                }
            }
        })
    }

    /// A removal that a crash interrupted goes on once its runtimes were tried.
    pub(crate) async fn resume_removals(self: Arc<Self>) {
        // What is asked for from now on is no interrupted one.
        let interrupted = self.services().unwrap_or_default();
        self.runtimes.tried().await;
        for record in interrupted {
            let Some(removing) = &record.removing else {
                continue;
            };
            if let Err(error) = self.undeploy(&record.desired.name, removing.volumes) {
                tracing::warn!(service = record.desired.name, %error, "its removal could not be taken up again");
            }
        }
    }

    /// Forgets a service whose removal is complete, unless it was deployed again meanwhile.
    fn forget(&self, service: &str) -> Result<(), Error> {
        let _accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        // Two removals of one service may end one after the other: for the second there is nothing left to do.
        let known = self.store.service(service).map_err(crate::store_error)?;
        if known.is_none_or(|record| record.removing.is_none()) {
            return Ok(());
        }
        let changes = Transaction { forget_services: vec![service.to_owned()], ..Transaction::default() };
        self.events.commit(&changes).map_err(crate::store_error)
    }

    /// The service's own network, and where asked its own volumes: what carries our labels and its name.
    async fn remove_belongings(
        &self,
        operation: &Arc<OperationHandle>,
        runtime: &str,
        service: &str,
        with_volumes: bool,
    ) -> Result<(), Error> {
        let runtime = self.runtimes.get(runtime)?;
        let cx: OpContext = operation.context();
        let ours = |labels: &std::collections::BTreeMap<String, String>| {
            labels.get(OWNER).map(String::as_str) == Some(self.owner())
                && labels.get(SERVICE).map(String::as_str) == Some(service)
        };
        if let Some(networks) = runtime.networks() {
            for network in networks.list(&cx).await?.into_iter().filter(|network| ours(&network.labels)) {
                operation.phase(service, "removing", format!("removing network {}", network.name));
                networks.remove(&cx, &network.name).await?;
            }
        }
        if let Some(volumes) = runtime.volumes().filter(|_| with_volumes) {
            for volume in volumes.list(&cx).await?.into_iter().filter(|volume| ours(&volume.labels)) {
                operation.phase(service, "removing", format!("removing volume {}", volume.name));
                volumes.remove(&cx, &volume.name).await?;
            }
        }
        Ok(())
    }

    /// Commits a wish for a service's workloads before anything acts on it.
    fn desire(
        self: &Arc<Self>,
        service: &str,
        component: Option<&str>,
        wish: Wish,
        grace: Option<u64>,
    ) -> Result<Vec<Handle>, Error> {
        let _accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        let record = self.service(service)?;
        let chosen =
            |handle: &Handle| component.is_none_or(|only| handle.cell.borrow().desired.recipe.component.name == only);
        let handles: Vec<Handle> = self.directory.of_service(service).into_iter().filter(chosen).collect();
        if matches!(wish, Wish::Remove { at_rest: true, .. }) {
            crate::purge::must_be_at_rest(service, &handles.iter().map(Handle::read).collect::<Vec<_>>())?;
        }
        if let Some(component) = component.filter(|_| handles.is_empty()) {
            let text = format!("service `{service}` has no component `{component}`");
            return Err(Error::new(ErrorKind::NotFound, wish.verb(), text));
        }
        let desired: Vec<DesiredRecord> = handles.iter().map(|handle| wish.of(handle.read().desired, grace)).collect();
        let asked = |desired: &DesiredRecord| -> NewEvent {
            let details = json!({ "request": wish.verb() });
            workload_event(desired, "requested", format!("{} requested", wish.verb()), details)
        };
        let changes = Transaction {
            services: vec![wish.noted(record, component.is_none(), &desired)],
            events: desired.iter().map(asked).collect(),
            desired: desired.clone(),
            ..Transaction::default()
        };
        self.accept(&changes)?;
        self.pass_now(crate::crash::ACCEPTED);
        Ok(desired.iter().map(|desired| self.take_up(desired)).collect())
    }

    fn handle(&self, name: &str) -> Result<Handle, Error> {
        self.directory.get(name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "workload", format!("no workload is named `{name}`"))
                .hint("`hythe ps` lists them")
        })
    }
}

/// What a user wants of a service that is deployed.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Start,
    Restart,
    Stop,
    Remove { volumes: bool, at_rest: bool },
}

impl Wish {
    const fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Remove { .. } => "undeploy",
        }
    }

    /// What is desired of a workload with the wish in it.
    fn of(self, known: DesiredRecord, grace: Option<u64>) -> DesiredRecord {
        let asked = known.asked + 1;
        let restart = if matches!(self, Self::Restart) { asked } else { known.restart };
        DesiredRecord { desired: self.desired(), grace, asked, restart, ..known }
    }

    const fn desired(self) -> Desired {
        match self {
            Self::Start | Self::Restart => Desired::Running,
            Self::Stop => Desired::Stopped,
            Self::Remove { .. } => Desired::Removed,
        }
    }

    /// The service's record with the wish in it.
    fn noted(self, mut record: ServiceRecord, whole: bool, workloads: &[DesiredRecord]) -> ServiceRecord {
        if whole {
            record.desired.active = self.desired() == Desired::Running;
        }
        if let Self::Remove { volumes, .. } = self {
            let earlier = record.removing.take().unwrap_or_default();
            let placed = workloads.iter().map(|workload| workload.placement.runtime.clone());
            let runtimes: BTreeSet<String> = placed.chain(earlier.runtimes).collect();
            record.removing =
                Some(Removing { volumes: volumes || earlier.volumes, runtimes: runtimes.into_iter().collect() });
        }
        record.updated = Timestamp::now();
        record
    }
}

fn missing_service(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, "service", format!("no service is named `{name}`"))
        .hint("`hythe services` lists them")
}

/// In waves: first what nothing else in the service depends on. Cycles cannot be (they are refused at deploy).
fn dependents_first(handles: Vec<Handle>) -> Vec<Vec<Handle>> {
    let mut waves = Vec::new();
    let mut rest = handles;
    while !rest.is_empty() {
        let needed: BTreeSet<String> =
            rest.iter().flat_map(|handle| handle.read().desired.recipe.component.depends_on.into_keys()).collect();
        let (now, later): (Vec<Handle>, Vec<Handle>) =
            rest.into_iter().partition(|handle| !needed.contains(&handle.cell.borrow().desired.recipe.component.name));
        if now.is_empty() {
            waves.push(later);
            return waves;
        }
        waves.push(now);
        rest = later;
    }
    waves
}

async fn one_after_another(operation: &Arc<OperationHandle>, waves: Vec<Vec<Handle>>) -> Result<(), Error> {
    for wave in waves {
        converge_all(operation, wave).await?;
    }
    Ok(())
}
