//! What is known of the machine, shared between those who follow engines and those who read.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hythe_runtime::{Event, Listed, Observed};
use jiff::Timestamp;
use tokio::sync::{broadcast, watch};

use super::world::{Detail, World};
use super::{Change, FoundInstance, Told};

/// Changes a reader may be behind before it is told that it missed some.
const BACKLOG: usize = 1024;

/// A configured runtime as the inventory knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeSeen {
    /// Its name.
    pub name: String,
    /// It answers, so what is said of its instances is of now.
    pub connected: bool,
    /// Why it does not.
    pub error: Option<String>,
}

/// Everything at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Place in the feed: the next change is one more.
    pub id: u64,
    /// When it was taken.
    pub time: Timestamp,
    /// All configured runtimes, by name.
    pub runtimes: Vec<RuntimeSeen>,
    /// All instances, running or not, by runtime and id.
    pub instances: Vec<Arc<FoundInstance>>,
}

#[derive(Debug)]
struct Inner {
    world: World,
    last: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Inventory {
    agent: String,
    inner: Mutex<Inner>,
    live: broadcast::Sender<Arc<Told>>,
    /// Runtimes that were looked at, or could not be.
    settled: watch::Sender<BTreeSet<String>>,
}

impl Inventory {
    pub(super) fn new(agent: &str, runtimes: &[String]) -> Self {
        let world = World::new(agent, runtimes.iter().cloned());
        Self {
            agent: agent.to_owned(),
            inner: Mutex::new(Inner { world, last: 0 }),
            live: broadcast::channel(BACKLOG).0,
            settled: watch::Sender::default(),
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        snapshot_of(&self.inner())
    }

    /// Everything now, and all changes after it.
    pub(super) fn subscribe(&self) -> (Snapshot, broadcast::Receiver<Arc<Told>>) {
        let inner = self.inner();
        // Changes are told under the same lock: none is in both, none in neither.
        (snapshot_of(&inner), self.live.subscribe())
    }

    /// Waits until every one of these was looked at.
    pub(super) async fn settled(&self, runtimes: &[String]) {
        let all = |settled: &BTreeSet<String>| runtimes.iter().all(|name| settled.contains(name));
        // The sender is ours and lives.
        let _ = self.settled.subscribe().wait_for(all).await;
    }

    pub(super) fn settle(&self, runtime: &str) {
        self.settled.send_if_modified(|settled| settled.insert(runtime.to_owned()));
    }

    /// A list; ids of those that more is to be asked about.
    pub(super) fn listed(&self, runtime: &str, rows: Vec<Listed>) -> Vec<String> {
        let found = rows.into_iter().map(|row| FoundInstance::of_row(runtime, row, &self.agent)).collect();
        self.change(Timestamp::now(), |world| world.listed(runtime, found));
        self.inner().world.incomplete(runtime)
    }

    pub(super) fn detailed(&self, runtime: &str, seen: &Observed) {
        self.change(Timestamp::now(), |world| world.detailed(runtime, seen));
    }

    pub(super) fn wants_detail(&self, runtime: &str, event: &Event) -> bool {
        self.inner().world.wants_detail(runtime, event)
    }

    pub(super) fn event(&self, runtime: &str, event: &Event, detail: Detail<'_>) {
        self.change(event.time, |world| world.event(runtime, event, detail));
    }

    pub(super) fn lost(&self, runtime: &str, reason: &str) {
        self.change(Timestamp::now(), |world| world.lost(runtime, reason));
        self.settle(runtime);
    }

    fn change(&self, time: Timestamp, change: impl FnOnce(&mut World) -> Vec<Change>) {
        let mut inner = self.inner();
        for change in change(&mut inner.world) {
            inner.last += 1;
            // Nobody may be reading yet.
            let _ = self.live.send(Arc::new(Told { id: inner.last, time, change }));
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn snapshot_of(inner: &Inner) -> Snapshot {
    Snapshot {
        id: inner.last,
        time: Timestamp::now(),
        runtimes: inner.world.runtimes(),
        instances: inner.world.instances(),
    }
}
