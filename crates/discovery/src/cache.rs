//! The instances known by now, shared by those who follow runtimes and those who read the stream.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hythe_runtime::{Clock, Event, Listed, Observed};
use jiff::Timestamp;
use tokio::sync::{broadcast, watch};

use crate::model::{Detail, Model};
use crate::{Change, FeedEvent, FoundInstance};

/// Changes a reader may be behind before it gets a gap.
const BACKLOG: usize = 1024;

/// A configured runtime, connected or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeConnection {
    /// Its name.
    pub name: String,
    /// It answers, so its instances are up to date.
    pub connected: bool,
    /// Why it does not.
    pub error: Option<String>,
}

/// Everything at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Place in the stream: the next change is one more.
    pub id: u64,
    /// When it was taken.
    pub time: Timestamp,
    /// All configured runtimes, by name.
    pub runtimes: Vec<RuntimeConnection>,
    /// All instances, running or not, by runtime and id.
    pub instances: Vec<Arc<FoundInstance>>,
}

#[derive(Debug)]
struct Inner {
    model: Model,
    last: u64,
}

/// The model behind a lock, and the channel to its readers.
#[derive(Debug)]
pub(crate) struct Cache {
    agent: String,
    clock: Clock,
    inner: Mutex<Inner>,
    live: broadcast::Sender<Arc<FeedEvent>>,
    /// Runtimes that were listed, or could not be.
    listed: watch::Sender<BTreeSet<String>>,
}

impl Cache {
    pub(crate) fn new(agent: &str, runtimes: &[String], clock: Clock) -> Self {
        let model = Model::new(agent, runtimes.iter().cloned());
        Self {
            agent: agent.to_owned(),
            inner: Mutex::new(Inner { model, last: 0 }),
            live: broadcast::channel(BACKLOG).0,
            listed: watch::Sender::default(),
            clock,
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.snapshot_of(&self.inner())
    }

    /// Everything now, and all changes after it.
    pub(crate) fn subscribe(&self) -> (Snapshot, broadcast::Receiver<Arc<FeedEvent>>) {
        let inner = self.inner();
        // Changes are sent under the same lock: none is in both, none in neither.
        (self.snapshot_of(&inner), self.live.subscribe())
    }

    /// Waits until every one of these was listed or could not be.
    pub(crate) async fn wait_until_listed(&self, runtimes: &[String]) {
        let all = |listed: &BTreeSet<String>| runtimes.iter().all(|name| listed.contains(name));
        // The sender is ours and lives.
        let _ = self.listed.subscribe().wait_for(all).await;
    }

    pub(crate) fn mark_listed(&self, runtime: &str) {
        self.listed.send_if_modified(|listed| listed.insert(runtime.to_owned()));
    }

    /// Applies a list; gives the ids of instances that are to be inspected.
    pub(crate) fn apply_list(&self, runtime: &str, rows: Vec<Listed>) -> Vec<String> {
        let found = rows.into_iter().map(|row| FoundInstance::of_row(runtime, row, &self.agent)).collect();
        self.change(self.clock.now(), |model| model.listed(runtime, found));
        self.inner().model.incomplete(runtime)
    }

    pub(crate) fn apply_inspected(&self, runtime: &str, seen: &Observed) {
        self.change(self.clock.now(), |model| model.inspected(runtime, seen));
    }

    pub(crate) fn needs_inspect(&self, runtime: &str, event: &Event) -> bool {
        self.inner().model.needs_inspect(runtime, event)
    }

    pub(crate) fn apply_event(&self, runtime: &str, event: &Event, detail: Detail<'_>) {
        self.change(event.time, |model| model.event(runtime, event, detail));
    }

    pub(crate) fn disconnected(&self, runtime: &str, reason: &str) {
        self.change(self.clock.now(), |model| model.disconnected(runtime, reason));
        self.mark_listed(runtime);
    }

    fn change(&self, time: Timestamp, change: impl FnOnce(&mut Model) -> Vec<Change>) {
        let mut inner = self.inner();
        for change in change(&mut inner.model) {
            inner.last += 1;
            // Nobody may be reading yet.
            let _ = self.live.send(Arc::new(FeedEvent { id: inner.last, time, change }));
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot_of(&self, inner: &Inner) -> Snapshot {
        Snapshot {
            id: inner.last,
            time: self.clock.now(),
            runtimes: inner.model.runtimes(),
            instances: inner.model.instances(),
        }
    }
}
