//! The brain: brings each workload from what is observed to what is desired, one task per workload, and tells everybody.
//!
//! For: placement, lifecycle, restart and health policy, operations, the event stream. Not for: HTTP (see `agent`), SQL (see
//! `store`) or any engine: the controller knows runtimes only through the seam and names no driver.

mod adopt;
pub mod alerts;
mod condition;
mod crash;
mod deploy;
mod directory;
mod drift;
mod event;
mod health;
mod instances;
mod lifecycle;
mod operation;
mod placement;
mod policy;
mod purge;
mod reaper;
mod rebuild;
mod runtimes;
mod service;
mod snapshots;
mod watch;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use event::Retention;
use hythe_runtime::{Clock, Error, ErrorKind, InstanceId, OpContext, Runtime, Stop};
use hythe_store::Store;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use adopt::{AdoptOptions, Adopted};
pub use condition::Fault;
pub use crash::CrashHook;
pub use deploy::{Action, ComponentPlan, DeployOptions, DeployPlan, Deployed};
pub use directory::Cell;
pub use drift::{Cause, Difference};
pub use event::EventHub;
pub use instances::{Change, FoundInstance, FoundNetwork, Heard, Instances, Reader, RuntimeSeen, Snapshot, Told};
pub use operation::{Joined, OperationHandle, Operations, Report};
pub use purge::{Purged, PurgedService};
pub use reaper::{Candidate, Collected, GcOptions, Object, ObjectKind};
pub use runtimes::{Connect, Connector, RuntimeStatus, Runtimes};
pub use snapshots::SnapshotOn;

/// Looks at instances that are under way at once: an engine that comes back is not asked about everything at a time.
const LOOKS: usize = 4;

/// Limits and identity of a controller.
#[derive(Clone)]
pub struct Settings {
    /// Id of this agent, on every object it makes.
    pub owner: String,
    /// Events kept.
    pub keep_events: u64,
    /// How long they are kept at most; absent: however old.
    pub keep_events_for: Option<Duration>,
    /// Operations kept.
    pub keep_operations: u32,
    /// Whether `privileged` components are accepted.
    pub allow_privileged: bool,
    /// Id of the host's boot: what ran in another one has ended with it.
    pub boot: String,
    /// The clock.
    pub clock: Clock,
    /// For tests: told where a crash must do no harm.
    pub crash: CrashHook,
    /// How what is left behind is found and collected.
    pub gc: GcSettings,
    /// Time between two looks for changes made by hand; zero: none is taken.
    pub drift_interval: Duration,
}

impl Settings {
    /// Of an agent with this id and otherwise the usual limits.
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            keep_events: 10_000,
            keep_events_for: None,
            keep_operations: 200,
            allow_privileged: false,
            boot: String::new(),
            clock: Clock::system(),
            crash: None,
            gc: GcSettings::default(),
            drift_interval: Duration::from_secs(60),
        }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("owner", &self.owner).field("boot", &self.boot).finish_non_exhaustive()
    }
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
    instances: Instances,
    /// Held while a change is accepted, so that two callers cannot interleave.
    pub(crate) accepting: std::sync::Mutex<()>,
    pub(crate) looks: Semaphore,
    alerts: alerts::Counts,
    pub(crate) reaper: reaper::Reaper,
    pub(crate) snapshots: Arc<snapshots::Underway>,
    shutdown: CancellationToken,
}

impl Controller {
    /// Opens what the store remembers, starts one task per workload and one watcher per runtime.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn start(settings: Settings, store: Arc<Store>, connectors: Vec<Connector>) -> Result<Arc<Self>, Error> {
        let shutdown = CancellationToken::new();
        let retention = Retention { count: settings.keep_events, age: settings.keep_events_for };
        let events = Arc::new(EventHub::new(store.clone(), retention));
        let runtimes = Arc::new(Runtimes::new(connectors));
        let opened = Operations::open(store.clone(), settings.keep_operations, shutdown.clone());
        let (operations, interrupted) = opened.map_err(store_error)?;
        let controller = Arc::new(Self {
            instances: Instances::new(&settings.owner, runtimes.clone()),
            runtimes,
            operations: Arc::new(operations),
            directory: Arc::new(directory::Directory::default()),
            accepting: std::sync::Mutex::new(()),
            looks: Semaphore::new(LOOKS),
            reaper: reaper::Reaper::default(),
            snapshots: Arc::default(),
            settings,
            store,
            events,
            alerts: alerts::Counts::default(),
            shutdown,
        });
        controller.hold_what_was_kept(&interrupted);
        for (desired, observed) in controller.store.workloads().map_err(store_error)? {
            controller.spawn_worker(desired, observed);
        }
        for name in controller.runtimes.names() {
            let watcher = watch::Watcher::new(controller.clone(), name);
            controller.spawn(watcher.run());
        }
        controller.spawn(controller.clone().resume_removals());
        controller.spawn(controller.events.clone().keep_pruned());
        controller.spawn(reaper::run(controller.clone()));
        let every = controller.settings.drift_interval;
        if !every.is_zero() {
            controller.spawn(drift::Watcher::new(controller.clone()).run(every));
        }
        Ok(controller)
    }

    /// Stops deciding. Workloads go on running.
    pub fn shutdown(&self) {
        self.shutdown.cancel();
        self.directory.clear();
    }

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

    pub(crate) fn now(&self) -> Timestamp {
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
        match runtime.stop(&cx, id, &Stop { signal: None, grace }).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
        runtime.remove(&cx, id).await
    }

    /// The runtimes.
    pub fn runtimes(&self) -> &Runtimes {
        &self.runtimes
    }

    /// What runs on this machine, whoever made it.
    pub fn instances(&self) -> &Instances {
        &self.instances
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
    use hythe_store::Error::{Full, Low};
    let kind = match error {
        Full(_) | Low { .. } => ErrorKind::Exhausted,
        _ if error.is_of_the_disk() => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    };
    let failed = Error::new(kind, "store", error.to_string());
    let failed = if error.is_of_the_disk() { failed.hint(condition::FREE_SPACE) } else { failed };
    failed.source(error)
}
