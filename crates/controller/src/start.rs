//! Starting a controller: what the store remembers, one task per workload, one watcher per runtime.

use std::sync::Arc;

use hythe_runtime::Error;
use hythe_store::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::controller::Controller;
use crate::error::store_error;
use crate::event::{EventHub, Retention};
use crate::gc::observations::Observations;
use crate::operation::Operations;
use crate::registry::WorkloadRegistry;
use crate::runtimes::{Connector, Runtimes};
use crate::settings::Settings;
use crate::{drift, gc, watch};

/// Looks at instances that are under way at once: an engine that comes back is not asked about everything at a time.
const MAX_INSPECTS: usize = 4;

impl Controller {
    /// Opens what the store remembers, starts one task per workload and one watcher per runtime.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn start(settings: Settings, store: Arc<Store>, connectors: Vec<Connector>) -> Result<Arc<Self>, Error> {
        let shutdown = CancellationToken::new();
        let retention = Retention { count: settings.keep_events, age: settings.keep_events_for };
        let events = Arc::new(EventHub::new(store.clone(), retention, settings.clock.clone()).map_err(store_error)?);
        let runtimes = Arc::new(Runtimes::new(connectors));
        let opened =
            Operations::open(store.clone(), settings.keep_operations, settings.clock.clone(), shutdown.clone());
        let (operations, interrupted) = opened.map_err(store_error)?;
        let controller = Arc::new(Self {
            runtimes,
            operations: Arc::new(operations),
            registry: Arc::new(WorkloadRegistry::default()),
            accepting: std::sync::Mutex::new(()),
            inspects: Semaphore::new(MAX_INSPECTS),
            removals: std::sync::Mutex::default(),
            gc: Observations::default(),
            snapshots: Arc::default(),
            settings,
            store,
            events,
            shutdown,
        });
        controller.freeze_interrupted(&interrupted);
        controller.spawn_workers(controller.store.workloads().map_err(store_error)?);
        controller.sweep_secrets();
        for name in controller.runtimes.names() {
            let watcher = watch::Watcher::new(controller.clone(), name);
            controller.spawn(watcher.run());
        }
        controller.spawn(controller.clone().resume_removals());
        controller.spawn(controller.events.clone().keep_pruned());
        controller.spawn(gc::run(controller.clone()));
        let every = controller.settings.drift_interval;
        if !every.is_zero() {
            controller.spawn(drift::Watcher::new(controller.clone()).run(every));
        }
        Ok(controller)
    }

    /// Stops deciding. Workloads go on running.
    pub fn shutdown(&self) {
        self.shutdown.cancel();
        self.registry.clear();
    }
}
