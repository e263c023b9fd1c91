//! The one ordered stream: durable first, then told to whoever listens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hythe_store::{DesiredRecord, EventFilter, EventPage, EventRecord, NewEvent, Store, Transaction};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::broadcast;

/// Events a listener may be behind before it reads them from the store instead.
const BACKLOG: usize = 256;
/// Appended events between two prunings.
const PRUNE_EVERY: u64 = 256;
/// Time between two prunings where few events are appended.
const PRUNE_AFTER: Duration = Duration::from_secs(3600);

/// Which events are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retention {
    /// So many, the newest ones.
    pub(crate) count: u64,
    /// None that is older; absent: of any age.
    pub(crate) age: Option<Duration>,
}

/// Where events are appended and listened to.
#[derive(Debug)]
pub struct EventHub {
    store: Arc<Store>,
    live: broadcast::Sender<u64>,
    retention: Retention,
    appended: AtomicU64,
}

impl EventHub {
    pub(crate) fn new(store: Arc<Store>, retention: Retention) -> Self {
        Self { store, live: broadcast::channel(BACKLOG).0, retention, appended: AtomicU64::new(0) }
    }

    /// Commits changes with their events, then tells the listeners.
    pub(crate) fn commit(&self, changes: &Transaction) -> hythe_store::Result<()> {
        let stored = self.store.commit(changes)?;
        if let Some(last) = stored.last() {
            // No listener is fine.
            let _ = self.live.send(last.cursor);
            let before = self.appended.fetch_add(stored.len() as u64, Ordering::Relaxed);
            if before / PRUNE_EVERY != (before + stored.len() as u64) / PRUNE_EVERY {
                self.prune();
            }
        }
        Ok(())
    }

    /// Forgets what is old also where nothing new is told.
    pub(crate) async fn keep_pruned(self: Arc<Self>) {
        let mut due = tokio::time::interval(PRUNE_AFTER);
        loop {
            due.tick().await;
            self.prune();
        }
    }

    /// What could not be forgotten now is forgotten next time: that is no fault of what was just committed.
    fn prune(&self) {
        let age = self.retention.age.and_then(|age| SignedDuration::try_from(age).ok());
        let since = age.and_then(|age| Timestamp::now().checked_sub(age).ok());
        if let Err(error) = self.store.prune_events(self.retention.count, since) {
            tracing::warn!(%error, "old events were not forgotten");
        }
    }

    /// Events kept that match, oldest first; with a limit the newest ones.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read(&self, filter: &EventFilter) -> Result<Vec<EventRecord>, hythe_runtime::Error> {
        self.store.events(filter).map_err(crate::store_error)
    }

    /// At most `most` events that match, the oldest after `filter.after` first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn page(&self, filter: &EventFilter, most: u32) -> Result<EventPage, hythe_runtime::Error> {
        self.store.events_page(filter, most).map_err(crate::store_error)
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
