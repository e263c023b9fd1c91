//! Removing a service, to its end: its workloads' own tasks remove their instances, then what belongs to the service follows.
//!
//! A removal that failed is retried until it succeeds or the service is deployed again; its failure and its end are reported as events.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use hythe_runtime::identity::{OWNER, SERVICE};
use hythe_runtime::{Error, ErrorKind, OpContext};
use hythe_spec::vocabulary::{EventKind, OperationKind, ProgressPhase};
use hythe_store::{NewEvent, Removing, Transaction};
use serde_json::json;

use crate::outcome::converge_all;
use crate::registry::WorkloadHandle;
use crate::service::Wish;
use crate::{Controller, OperationHandle, policy};

const OPERATION: &str = OperationKind::Undeploy.as_str();

impl Controller {
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
        self.operations.spawn(OperationKind::Undeploy, service, move |operation| async move {
            match controller.remove_all(&operation, &name, &removing, handles).await {
                Ok(()) => Ok(None),
                Err(error) => {
                    controller.spawn(controller.clone().go_on_removing(name, error.message().to_owned()));
                    Err(goes_on(error))
                }
            }
        })
    }

    async fn remove_all(
        &self,
        operation: &Arc<OperationHandle>,
        service: &str,
        removing: &Removing,
        handles: Vec<WorkloadHandle>,
    ) -> Result<(), Error> {
        converge_all(operation, handles).await?;
        let report = |words: String| operation.phase(service, ProgressPhase::Removing, words);
        self.remove_belongings(&operation.context(), service, removing, report).await?;
        self.forget(service, Vec::new())
    }

    /// Tries again, less and less often, until nothing is left to do. One task a service is enough.
    async fn go_on_removing(self: Arc<Self>, service: String, failure: String) {
        if !self.removals.lock().unwrap_or_else(PoisonError::into_inner).insert(service.clone()) {
            return;
        }
        let words = format!("its removal failed and goes on by itself: {failure}");
        let warning = self.removal_event(&service, EventKind::Warning, words);
        if let Err(error) = self.events.commit(&Transaction { events: vec![warning], ..Transaction::default() }) {
            tracing::warn!(service, %error, "an event was not stored");
        }
        for failures in 1.. {
            tokio::time::sleep(policy::delay(failures)).await;
            match self.remove_rest(&service).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => tracing::debug!(service, %error, "its removal goes on later"),
            }
        }
        self.removals.lock().unwrap_or_else(PoisonError::into_inner).remove(&service);
    }

    /// Removes what belongs to a service whose workloads are gone; whether there is nothing more to do for it.
    async fn remove_rest(&self, service: &str) -> Result<bool, Error> {
        let Some(removing) = self.removing(service)? else { return Ok(true) };
        if !self.registry.of_service(service).is_empty() {
            return Ok(false);
        }
        self.remove_belongings(&OpContext::new(format!("remove {service}")), service, &removing, drop).await?;
        let done = self.removal_event(service, EventKind::Removed, "the removal that had failed is done".to_owned());
        self.forget(service, vec![done])?;
        Ok(true)
    }

    fn removing(&self, service: &str) -> Result<Option<Removing>, Error> {
        let record = self.store.service(service).map_err(crate::store_error)?;
        Ok(record.and_then(|record| record.removing))
    }

    fn removal_event(&self, service: &str, kind: EventKind, message: String) -> NewEvent {
        NewEvent {
            time: self.now(),
            runtime: None,
            service: Some(service.to_owned()),
            workload: None,
            kind: kind.into(),
            message,
            details: json!({ "request": OPERATION }),
        }
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

    /// Forgets a service whose removal is complete, and stores these events with that, unless it was deployed again meanwhile.
    fn forget(&self, service: &str, events: Vec<NewEvent>) -> Result<(), Error> {
        let _accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        // Two removals of one service may end one after the other: for the second there is nothing left to do.
        let known = self.store.service(service).map_err(crate::store_error)?;
        if known.is_none_or(|record| record.removing.is_none()) {
            return Ok(());
        }
        let changes = Transaction { forget_services: vec![service.to_owned()], events, ..Transaction::default() };
        self.events.commit(&changes).map_err(crate::store_error)
    }

    /// The service's own network, and where asked its own volumes: what carries our labels and its name.
    async fn remove_belongings(
        &self,
        cx: &OpContext,
        service: &str,
        removing: &Removing,
        report: impl Fn(String),
    ) -> Result<(), Error> {
        let owner = self.owner();
        let label =
            |labels: &BTreeMap<String, String>, key: &str, value: &str| labels.get(key).is_some_and(|it| it == value);
        let ours = |labels: &BTreeMap<String, String>| label(labels, OWNER, owner) && label(labels, SERVICE, service);
        for runtime in &removing.runtimes {
            let runtime = self.runtimes.get(runtime)?;
            if let Some(networks) = runtime.networks() {
                for network in networks.list(cx).await?.into_iter().filter(|network| ours(&network.labels)) {
                    self.must_be_removing(service)?;
                    report(format!("removing network {}", network.name));
                    networks.remove(cx, &network.name, owner).await?;
                }
            }
            if let Some(volumes) = runtime.volumes().filter(|_| removing.volumes) {
                for volume in volumes.list(cx).await?.into_iter().filter(|volume| ours(&volume.labels)) {
                    self.must_be_removing(service)?;
                    report(format!("removing volume {}", volume.name));
                    volumes.remove(cx, &volume.name, owner).await?;
                }
            }
        }
        Ok(())
    }

    /// What is deployed again keeps what belongs to it.
    fn must_be_removing(&self, service: &str) -> Result<(), Error> {
        let again = || Error::new(ErrorKind::Cancelled, OPERATION, format!("`{service}` was deployed again"));
        self.removing(service)?.map(drop).ok_or_else(again)
    }
}

/// The failure, and that it is not the last word.
fn goes_on(error: Error) -> Error {
    let words = "the removal goes on by itself until it succeeds or the service is deployed again; `hythe events` shows when it is done";
    let hint = error.next_step().map_or_else(|| words.to_owned(), |known| format!("{known}; {words}"));
    error.hint(hint)
}
