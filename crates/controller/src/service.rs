//! What clients ask of services and workloads besides deploying and removing: stop, start, restart, look.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use hythe_runtime::{Error, ErrorKind, InstanceRef, OpContext, Runtime};
use hythe_spec::vocabulary::{EventKind, OperationKind};
use hythe_store::{Desired, DesiredRecord, InstanceRecord, NewEvent, Phase, Removing, ServiceRecord, Transaction};
use jiff::Timestamp;
use serde_json::json;

use crate::event::workload_event;
use crate::lookup::identify;
use crate::model::WorkloadState;
use crate::outcome::converge_all;
use crate::registry::WorkloadHandle;
use crate::waves::stop_order;
use crate::{Controller, OperationHandle};

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
    pub fn workloads(&self) -> Vec<WorkloadState> {
        self.registry.all().iter().map(WorkloadHandle::read).collect()
    }

    /// What is read of every workload, by name, without a copy of any.
    pub fn each_workload<T>(&self, read: impl Fn(&WorkloadState) -> T) -> Vec<T> {
        self.registry.all().iter().map(|handle| read(&handle.state.borrow())).collect()
    }

    /// How many workloads of a service are so.
    pub fn count_workloads(&self, service: &str, is: impl Fn(&WorkloadState) -> bool) -> usize {
        self.registry.count_of_service(service, is)
    }

    /// Workloads of a service, by name.
    pub fn workloads_of(&self, service: &str) -> Vec<WorkloadState> {
        self.registry.of_service(service).iter().map(WorkloadHandle::read).collect()
    }

    /// One workload.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn workload(&self, name: &str) -> Result<WorkloadState, Error> {
        Ok(self.handle(name)?.read())
    }

    /// The runtime and current instance of a workload.
    ///
    /// # Errors
    /// `NotFound` for the workload, `Conflict` when it has no instance, `Unavailable` when its runtime does not answer.
    pub async fn instance(&self, name: &str) -> Result<(Arc<dyn Runtime>, InstanceRef), Error> {
        let (runtime, current) = self.current(name)?;
        let id = identify(runtime.as_ref(), &OpContext::new("instance"), self.owner(), &current).await?;
        Ok((runtime, id))
    }

    /// What is recorded of the current instance.
    pub(crate) fn current(&self, name: &str) -> Result<(Arc<dyn Runtime>, InstanceRecord), Error> {
        let state = self.workload(name)?;
        let current = state.observed.current.ok_or_else(|| {
            Error::new(ErrorKind::Conflict, "instance", format!("workload `{name}` has no instance"))
                .hint("`hythe status` says why")
        })?;
        Ok((self.runtimes.get(&current.runtime)?, current))
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
        self.operations.spawn(OperationKind::Stop, service, |operation| async move {
            converge_all(&operation, handles).await?;
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
        self.operations.spawn(OperationKind::Start, service, |operation| async move {
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
        self.operations.spawn(OperationKind::Restart, service, |operation| async move {
            converge_all(&operation, handles).await?;
            Ok(None)
        })
    }

    /// Tasks of a service's workloads, or of the one of a component.
    ///
    /// # Errors
    /// `NotFound` for the component.
    pub(crate) fn components(
        &self,
        service: &str,
        component: Option<&str>,
        operation: &'static str,
    ) -> Result<Vec<WorkloadHandle>, Error> {
        let mut handles = self.registry.of_service(service);
        handles.retain(|handle| component.is_none_or(|only| handle.state.borrow().desired.spec.component.name == only));
        match component {
            Some(component) if handles.is_empty() => {
                let text = format!("service `{service}` has no component `{component}`");
                Err(Error::new(ErrorKind::NotFound, operation, text))
            }
            _ => Ok(handles),
        }
    }

    /// Commits a wish for a service's workloads before anything acts on it.
    pub(crate) fn desire(
        self: &Arc<Self>,
        service: &str,
        component: Option<&str>,
        wish: Wish,
        grace: Option<u64>,
    ) -> Result<Vec<WorkloadHandle>, Error> {
        let _accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        let record = self.service(service)?;
        let mut handles = self.components(service, component, wish.verb())?;
        if matches!(wish, Wish::Remove { at_rest: true, .. }) {
            must_be_at_rest(service, &handles.iter().map(WorkloadHandle::read).collect::<Vec<_>>())?;
        }
        if matches!(wish, Wish::Restart) && component.is_none() {
            // A job that has done its work is done again only where it is asked for.
            handles.retain(|handle| handle.state.borrow().observed.phase != Phase::Completed);
        }
        let mut handles = stop_order(handles);
        if wish.desired() == Desired::Running {
            // Each task is woken alone: no task may see a dependency as it was before this request.
            handles.reverse();
        }
        let mut desired: Vec<DesiredRecord> =
            handles.iter().map(|handle| wish.of(handle.read().desired, grace)).collect();
        let (followers, events) = self.followers(service, &handles, |desired| wish.starts_anew(desired));
        let now = self.now();
        let asked = |desired: &DesiredRecord| -> NewEvent {
            let details = json!({ "request": wish.verb() });
            workload_event(now, desired, EventKind::Requested, format!("{} requested", wish.verb()), details)
        };
        let services = vec![wish.noted(record, component.is_none(), &desired, self.now())];
        let events = desired.iter().map(asked).chain(events).collect();
        desired.extend(followers);
        let changes = Transaction { services, events, desired: desired.clone(), ..Transaction::default() };
        self.accept(&changes)?;
        self.pass_now(crate::crash::ACCEPTED);
        Ok(desired.iter().map(|desired| self.wake_with(desired)).collect())
    }

    fn handle(&self, name: &str) -> Result<WorkloadHandle, Error> {
        self.registry.get(name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "workload", format!("no workload is named `{name}`"))
                .hint("`hythe ps` lists them")
        })
    }
}

/// What a user wants of a service that is deployed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wish {
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
        let requests = known.requests + 1;
        let restart = if matches!(self, Self::Restart) { requests } else { known.restart };
        DesiredRecord { desired: self.desired(), grace, requests, restart, ..known }
    }

    /// Whether the main process is another one afterwards.
    fn starts_anew(self, known: &DesiredRecord) -> bool {
        match self {
            Self::Start => known.desired != Desired::Running,
            Self::Restart => true,
            Self::Stop | Self::Remove { .. } => false,
        }
    }

    const fn desired(self) -> Desired {
        match self {
            Self::Start | Self::Restart => Desired::Running,
            Self::Stop => Desired::Stopped,
            Self::Remove { .. } => Desired::Removed,
        }
    }

    /// The service's record with the wish in it.
    fn noted(
        self,
        mut record: ServiceRecord,
        whole: bool,
        workloads: &[DesiredRecord],
        now: Timestamp,
    ) -> ServiceRecord {
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
        record.updated = now;
        record
    }
}

fn missing_service(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, "service", format!("no service is named `{name}`"))
        .hint("`hythe services` lists them")
}

/// `Conflict` that names the workloads which run, may run or are about to.
pub(crate) fn must_be_at_rest(service: &str, states: &[WorkloadState]) -> Result<(), Error> {
    let at_rest = |state: &&WorkloadState| {
        matches!(state.observed.phase, Phase::Stopped | Phase::Completed | Phase::Failed | Phase::Removing)
    };
    let awake: Vec<String> =
        states.iter().filter(|state| !at_rest(state)).map(|state| state.desired.name.clone()).collect();
    if awake.is_empty() { Ok(()) } else { Err(still_runs(service, &awake)) }
}

/// `Conflict`: it is not purged while these run.
pub(crate) fn still_runs(service: &str, workloads: &[String]) -> Error {
    let verb = if workloads.len() == 1 { "runs" } else { "run" };
    let text = format!("service `{service}` is not purged: `{}` {verb}", workloads.join("`, `"));
    Error::new(ErrorKind::Conflict, "purge", text).hint(format!("`hythe stop {service}` stops it, or describe it"))
}
