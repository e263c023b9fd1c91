//! The controller: its parts, and what every task of it needs of them. What it does is beside it, one concern a module.

use std::sync::Arc;
use std::time::Duration;

use hythe_runtime::layers::{Layered, ReadOnly};
use hythe_runtime::{Error, InstanceId, OpContext, Runtime, Stop};
use hythe_store::Store;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::event::EventHub;
use crate::gc::observations::Observations;
use crate::operation::Operations;
use crate::registry::WorkloadRegistry;
use crate::runtimes::Runtimes;
use crate::settings::Settings;
use crate::snapshots::naming::Underway;

/// The controller; share it by `Arc`.
#[derive(Debug)]
pub struct Controller {
    pub(crate) settings: Settings,
    pub(crate) store: Arc<Store>,
    pub(crate) runtimes: Arc<Runtimes>,
    pub(crate) events: Arc<EventHub>,
    pub(crate) operations: Arc<Operations>,
    pub(crate) registry: Arc<WorkloadRegistry>,
    /// Held while a change is accepted, so that two callers cannot interleave.
    pub(crate) accepting: std::sync::Mutex<()>,
    pub(crate) inspects: Semaphore,
    /// Services whose removal failed and goes on by itself.
    pub(crate) removals: std::sync::Mutex<std::collections::BTreeSet<String>>,
    pub(crate) gc: Observations,
    pub(crate) snapshots: Arc<Underway>,
    pub(crate) shutdown: CancellationToken,
}

impl Controller {
    /// Runs a task that ends with the controller, wherever it is: what a kill does to it, and as harmless.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                () = task => {}
            }
        })
    }

    /// The time, by the clock in the settings.
    pub fn now(&self) -> Timestamp {
        self.settings.clock.now()
    }

    /// Stops and removes an instance of ours that nobody wants.
    pub(crate) async fn discard(
        &self,
        runtime: &Arc<dyn Runtime>,
        id: &InstanceId,
        grace: Duration,
    ) -> Result<(), Error> {
        let cx = OpContext::new(format!("discard {id}"));
        match runtime.stop(&cx, &id.to_ref(), &Stop { signal: None, grace }).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
        runtime.remove(&cx, &id.to_ref()).await
    }

    /// The runtimes.
    pub fn runtimes(&self) -> &Runtimes {
        &self.runtimes
    }

    /// The events.
    pub fn events(&self) -> &Arc<EventHub> {
        &self.events
    }

    /// The operations.
    pub fn operations(&self) -> &Arc<Operations> {
        &self.operations
    }

    /// Id of this agent.
    pub fn owner(&self) -> &str {
        &self.settings.owner
    }

    /// The runtime, unable to write.
    pub(crate) fn reading(&self, runtime: &str) -> Result<Arc<dyn Runtime>, Error> {
        Ok(Layered::around(self.runtimes.get(runtime)?, ReadOnly))
    }
}
