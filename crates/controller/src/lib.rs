//! The brain: brings each workload from what is observed to what is desired, one task per workload, and tells everybody.
//!
//! For: placement, lifecycle, restart and health policy, operations, the event stream. Not for: HTTP (see `agent`), SQL (see
//! `store`) or any engine: the controller knows runtimes only through the seam and names no driver.

mod deploy;
mod directory;
mod drift;
mod event;
mod health;
mod operation;
mod placement;
mod policy;
mod rebuild;
mod runtimes;
mod service;
mod watch;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use hythe_runtime::{Error, ErrorKind};
use hythe_store::Store;
use tokio_util::sync::CancellationToken;

pub use deploy::{Action, ComponentPlan, DeployOptions, DeployPlan, Deployed};
pub use directory::Cell;
pub use drift::{Cause, Difference};
pub use event::EventHub;
pub use operation::{Joined, OperationHandle, Operations, Report};
pub use runtimes::{Connect, Connector, RuntimeStatus, Runtimes};

/// Limits and identity of a controller.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Id of this agent, on every object it makes.
    pub owner: String,
    /// Events kept.
    pub keep_events: u64,
    /// Operations kept.
    pub keep_operations: u32,
    /// Whether `privileged` components are accepted.
    pub allow_privileged: bool,
    /// Time between two looks for changes made by hand; zero: none is taken.
    pub drift_interval: Duration,
}

/// The controller; share it by `Arc`.
#[derive(Debug)]
pub struct Controller {
    pub(crate) settings: Settings,
    pub(crate) store: Arc<Store>,
    pub(crate) runtimes: Arc<Runtimes>,
    pub(crate) events: Arc<EventHub>,
    pub(crate) operations: Arc<Operations>,
    pub(crate) directory: Arc<directory::Directory>,
    /// Held while a change is accepted, so that two callers cannot interleave.
    pub(crate) accepting: std::sync::Mutex<()>,
    shutdown: CancellationToken,
}

impl Controller {
    /// Opens what the store remembers, starts one task per workload and one watcher per runtime.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn start(settings: Settings, store: Arc<Store>, connectors: Vec<Connector>) -> Result<Arc<Self>, Error> {
        let shutdown = CancellationToken::new();
        let events = Arc::new(EventHub::new(store.clone(), settings.keep_events));
        let controller = Arc::new(Self {
            operations: Arc::new(Operations::open(store.clone(), settings.keep_operations).map_err(store_error)?),
            runtimes: Arc::new(Runtimes::new(connectors)),
            directory: Arc::new(directory::Directory::default()),
            accepting: std::sync::Mutex::new(()),
            settings,
            store,
            events,
            shutdown,
        });
        for (desired, observed) in controller.store.workloads().map_err(store_error)? {
            controller.spawn_worker(desired, observed);
        }
        for name in controller.runtimes.names() {
            let watcher = watch::Watcher::new(controller.clone(), name);
            tokio::spawn(watcher.run(controller.shutdown.clone()));
        }
        let every = controller.settings.drift_interval;
        if !every.is_zero() {
            tokio::spawn(drift::Watcher::new(controller.clone()).run(every, controller.shutdown.clone()));
        }
        tokio::spawn(controller.clone().resume_removals());
        Ok(controller)
    }

    /// Stops deciding. Workloads go on running.
    pub fn shutdown(&self) {
        self.shutdown.cancel();
        self.directory.clear();
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
}

/// An error of the store as callers see it.
pub(crate) fn store_error(error: hythe_store::Error) -> Error {
    let kind = match error {
        hythe_store::Error::Full(_) => ErrorKind::Exhausted,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, "store", error.to_string()).source(error)
}
