//! The one ordered stream: durable first, then told to whoever listens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hythe_store::{DesiredRecord, EventFilter, EventRecord, NewEvent, Store, Transaction};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::broadcast;

/// Events a listener may be behind before it reads them from the store instead.
const BACKLOG: usize = 256;
/// Appended events between two prunings.
const PRUNE_EVERY: u64 = 256;

/// Where events are appended and listened to.
#[derive(Debug)]
pub struct EventHub {
    store: Arc<Store>,
    live: broadcast::Sender<u64>,
    keep: u64,
    appended: AtomicU64,
}

impl EventHub {
    pub(crate) fn new(store: Arc<Store>, keep: u64) -> Self {
        Self { store, live: broadcast::channel(BACKLOG).0, keep, appended: AtomicU64::new(0) }
    }

    /// Commits changes with their events, then tells the listeners.
    pub(crate) fn commit(&self, changes: &Transaction) -> hythe_store::Result<()> {
        let stored = self.store.commit(changes)?;
        if let Some(last) = stored.last() {
            let before = self.appended.fetch_add(stored.len() as u64, Ordering::Relaxed);
            if before / PRUNE_EVERY != (before + stored.len() as u64) / PRUNE_EVERY {
                self.store.prune_events(self.keep)?;
            }
            // No listener is fine.
            let _ = self.live.send(last.cursor);
        }
        Ok(())
    }

    /// Events kept that match, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read(&self, filter: &EventFilter) -> Result<Vec<EventRecord>, hythe_runtime::Error> {
        self.store.events(filter).map_err(crate::store_error)
    }

    /// Cursors of the oldest kept and the newest event.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn bounds(&self) -> Result<(u64, u64), hythe_runtime::Error> {
        self.store.event_bounds().map_err(crate::store_error)
    }

    /// Wakes whenever events were appended; what they are is read from the store, so a slow listener loses none that are kept.
    pub fn listen(&self) -> broadcast::Receiver<u64> {
        self.live.subscribe()
    }
}

/// An event about a workload.
pub(crate) fn workload_event(
    desired: &DesiredRecord,
    kind: &str,
    message: impl Into<String>,
    details: Value,
) -> NewEvent {
    NewEvent {
        time: Timestamp::now(),
        runtime: Some(desired.placement.runtime.clone()),
        service: Some(desired.service.clone()),
        workload: Some(desired.name.clone()),
        kind: kind.to_owned(),
        message: message.into(),
        details,
    }
}

/// An event about a runtime.
pub(crate) fn runtime_event(runtime: &str, kind: &str, message: impl Into<String>) -> NewEvent {
    NewEvent {
        time: Timestamp::now(),
        runtime: Some(runtime.to_owned()),
        service: None,
        workload: None,
        kind: kind.to_owned(),
        message: message.into(),
        details: Value::Null,
    }
}
