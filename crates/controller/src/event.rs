//! The one ordered stream of events: committed first, then sent to listeners.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hythe_runtime::Clock;
use hythe_spec::vocabulary::EventKind;
use hythe_store::{DesiredRecord, EventFilter, EventPage, EventRecord, NewEvent, Store, Transaction};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::broadcast;

use crate::starts::{self, Starts};

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
    clock: Clock,
    appended: AtomicU64,
    starts: Mutex<Starts>,
}

impl EventHub {
    /// Of this store.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn new(store: Arc<Store>, retention: Retention, clock: Clock) -> hythe_store::Result<Self> {
        let recent = EventFilter { limit: Some(starts::REMEMBERED), ..EventFilter::default() };
        let starts = Mutex::new(Starts::load(&store.events(&recent)?));
        Ok(Self { store, live: broadcast::channel(BACKLOG).0, retention, clock, appended: AtomicU64::new(0), starts })
    }

    /// Commits changes with their events, then wakes the listeners. A start that was reported already is left out.
    pub(crate) fn commit(&self, changes: &Transaction) -> hythe_store::Result<()> {
        if changes.events.iter().all(|event| event.kind != EventKind::Started) {
            return self.append(changes);
        }
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        let new = changes.events.iter().filter(|event| !starts.is_reported(event)).cloned().collect();
        self.append(&Transaction { events: new, ..changes.clone() })?;
        changes.events.iter().for_each(|event| starts.note(event));
        Ok(())
    }

    /// Appends an event of the agent itself.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn report(&self, event: NewEvent) -> Result<(), hythe_runtime::Error> {
        self.commit(&Transaction { events: vec![event], ..Transaction::default() }).map_err(crate::store_error)
    }

    fn append(&self, changes: &Transaction) -> hythe_store::Result<()> {
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

    /// Deletes old events also while no new one comes.
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
        let since = age.and_then(|age| self.clock.now().checked_sub(age).ok());
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
    time: Timestamp,
    desired: &DesiredRecord,
    kind: EventKind,
    message: impl Into<String>,
    details: Value,
) -> NewEvent {
    NewEvent {
        time,
        runtime: Some(desired.placement.runtime.clone()),
        service: Some(desired.service.clone()),
        workload: Some(desired.name.clone()),
        kind: kind.into(),
        message: message.into(),
        details,
    }
}

/// An event about a runtime.
pub(crate) fn runtime_event(time: Timestamp, runtime: &str, kind: EventKind, message: impl Into<String>) -> NewEvent {
    NewEvent {
        time,
        runtime: Some(runtime.to_owned()),
        service: None,
        workload: None,
        kind: kind.into(),
        message: message.into(),
        details: Value::Null,
    }
}
