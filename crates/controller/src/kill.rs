//! Signals that a user has main processes sent. Nothing else is desired afterwards: of what ends by it, the restart policy decides.

use std::sync::Arc;

use hythe_runtime::{Error, ErrorKind, check_signal};
use hythe_spec::Signal;
use hythe_spec::vocabulary::{EventKind, OperationKind, ProgressPhase};
use hythe_store::{NewEvent, SentSignal, Transaction};
use serde_json::json;

use crate::event::workload_event;
use crate::lifecycle::may_run;
use crate::lookup::identify;
use crate::message::Message;
use crate::registry::WorkloadHandle;
use crate::{Controller, OperationHandle};

const OPERATION: &str = OperationKind::Kill.as_str();

impl Controller {
    /// Sends a signal to the main processes of a service, or of one component of it. A workload's own task is not waited for: it may be
    /// in the middle of a long stop.
    ///
    /// # Errors
    /// `Invalid` for what is no signal, `NotFound`, `Conflict` where nothing of it runs.
    pub fn kill(
        self: &Arc<Self>,
        service: &str,
        component: Option<&str>,
        signal: Signal,
    ) -> Result<Arc<OperationHandle>, Error> {
        check_signal(OPERATION, signal)?;
        let handles = self.targets(service, component)?;
        let now = self.now();
        let requested = |handle: &WorkloadHandle| -> NewEvent {
            let details = json!({ "request": OPERATION, "signal": signal.to_string() });
            let words = format!("kill with {signal} requested");
            workload_event(now, &handle.state.borrow().desired, EventKind::Requested, words, details)
        };
        let changes = Transaction { events: handles.iter().map(requested).collect(), ..Transaction::default() };
        self.accept(&changes)?;
        let controller = self.clone();
        self.operations.spawn(OperationKind::Kill, service, move |operation| async move {
            let mut outcome = Ok(None);
            for handle in handles {
                // One that cannot get it keeps no other from getting it.
                if let Err(error) = controller.send_signal(&operation, &handle, signal).await {
                    outcome = outcome.and(Err(error));
                }
            }
            outcome
        })
    }

    fn targets(&self, service: &str, component: Option<&str>) -> Result<Vec<WorkloadHandle>, Error> {
        self.service(service)?;
        let mut handles = self.components(service, component, OPERATION)?;
        handles.retain(|handle| handle.state.borrow().observed.current.as_ref().is_some_and(may_run));
        if handles.is_empty() {
            let what = component.map_or_else(|| service.to_owned(), |component| format!("{service}/{component}"));
            let words = format!("nothing of `{what}` runs");
            return Err(Error::new(ErrorKind::Conflict, OPERATION, words).hint("`hythe status` says why"));
        }
        Ok(handles)
    }

    async fn send_signal(
        &self,
        operation: &OperationHandle,
        handle: &WorkloadHandle,
        signal: Signal,
    ) -> Result<(), Error> {
        let name = handle.state.borrow().desired.name.clone();
        let (runtime, current) = self.current(&name)?;
        let cx = operation.context();
        let id = identify(runtime.as_ref(), &cx, self.owner(), &current).await?;
        // Before its engine can report the exit.
        handle.send(Message::Signalled(SentSignal { signal: signal.0, at: self.now() }));
        runtime.signal(&cx, &id, signal).await?;
        operation.phase(&name, ProgressPhase::Signal, format!("was sent {signal}"));
        Ok(())
    }
}
