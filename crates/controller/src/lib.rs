//! The brain: brings each workload from what is observed to what is desired, one task per workload, and tells everybody.
//!
//! For: placement, lifecycle, restart and health policy, operations, the event stream. Not for: HTTP (see `agent`), SQL (see
//! `store`) or any engine: the controller knows runtimes only through the seam and names no driver.

mod adopt;
mod deploy;
mod directory;
mod drift;
mod event;
mod health;
mod operation;
mod placement;
mod policy;
mod purge;
mod reaper;
mod rebuild;
mod runtimes;
mod service;
mod watch;
mod worker;

use std::sync::Arc;

use hythe_runtime::{Error, ErrorKind};
use hythe_store::Store;
use tokio_util::sync::CancellationToken;

pub use adopt::{AdoptOptions, Adopted};
pub use deploy::{Action, ComponentPlan, DeployOptions, DeployPlan, Deployed};
pub use directory::Cell;
pub use drift::Difference;
pub use event::EventHub;
pub use operation::{Joined, OperationHandle, Operations, Report};
pub use purge::{Purged, PurgedService};
pub use reaper::{Candidate, Collected, GcOptions, Object, ObjectKind};
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
    /// How what is left behind is found and collected.
    pub gc: GcSettings,
}

/// How what is left behind is found and collected.
#[derive(Debug, Clone)]
pub struct GcSettings {
    /// Time between two looks; zero: none by itself.
    pub interval: std::time::Duration,
    /// Least time that something must have been unwanted.
    pub min_age: std::time::Duration,
    /// Directory with files of ours that may be left behind.
    pub state_dir: Option<std::path::PathBuf>,
}

impl Default for GcSettings {
    fn default() -> Self {
        let minute = std::time::Duration::from_secs(60);
        Self { interval: minute, min_age: minute, state_dir: None }
    }
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
    pub(crate) reaper: reaper::Reaper,
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
            reaper: reaper::Reaper::default(),
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
        tokio::spawn(controller.clone().resume_removals());
        tokio::spawn(reaper::run(controller.clone(), controller.shutdown.clone()));
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
