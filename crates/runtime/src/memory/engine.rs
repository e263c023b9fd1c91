//! The shared state behind a runtime and the way every operation passes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;

use super::catalogue::Catalogue;
use super::events::Events;
use super::files::SharedTree;
use super::instance::Instance;
use crate::{Clock, Error, ErrorKind, InstanceId, NetworkInfo, OpContext, Result};

/// A named volume.
#[derive(Debug, Clone)]
pub(super) struct Volume {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) tree: SharedTree,
    /// Somebody used it: the image's files are copied up once.
    pub(super) used: bool,
}

/// Everything the engine knows.
#[derive(Debug)]
pub(super) struct World {
    name: String,
    clock: Clock,
    made: u64,
    last: Timestamp,
    pub(super) next_port: u16,
    pub(super) instances: BTreeMap<InstanceId, Instance>,
    pub(super) images: Catalogue,
    pub(super) networks: BTreeMap<String, NetworkInfo>,
    pub(super) volumes: BTreeMap<String, Volume>,
    lost_replies: BTreeMap<String, u32>,
}

impl World {
    pub(super) fn new(name: &str, clock: Clock) -> Self {
        Self {
            name: name.to_owned(),
            clock,
            made: 0,
            last: Timestamp::UNIX_EPOCH,
            next_port: 40_000,
            instances: BTreeMap::new(),
            images: Catalogue::default(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            lost_replies: BTreeMap::new(),
        }
    }

    /// A fresh id, the same in every run of a program.
    pub(super) fn next_id(&mut self) -> String {
        self.made += 1;
        hex_digest(format!("{}/{}", self.name, self.made).as_bytes())
    }

    /// How many ids were made.
    pub(super) fn made(&self) -> u64 {
        self.made
    }

    /// Now; later than every earlier answer.
    pub(super) fn now(&mut self) -> Timestamp {
        let least = self.last.saturating_add(SignedDuration::from_nanos(1)).unwrap_or(self.last);
        self.last = self.clock.now().max(least);
        self.last
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&Instance> {
        self.instances.values().find(|instance| instance.name == name)
    }

    pub(super) fn find(&self, operation: &'static str, id: &InstanceId) -> Result<&Instance> {
        self.instances.get(id).or_else(|| self.by_name(&id.0)).ok_or_else(|| absent(operation, id))
    }

    pub(super) fn find_mut(&mut self, operation: &'static str, id: &InstanceId) -> Result<&mut Instance> {
        let id = self.find(operation, id)?.id.clone();
        self.instances.get_mut(&id).ok_or_else(|| absent(operation, &id))
    }
}

fn absent(operation: &'static str, id: &InstanceId) -> Error {
    Error::new(ErrorKind::NotFound, operation, format!("no instance `{id}`"))
}

/// Lower-case hexadecimal SHA-256.
pub(super) fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the runtime, its control and its tasks share.
#[derive(Debug)]
pub(super) struct Engine {
    world: Mutex<World>,
    pub(super) events: Events,
    down: watch::Sender<Option<String>>,
    latency: Duration,
}

impl Engine {
    pub(super) fn new(world: World, latency: Duration) -> Arc<Self> {
        Arc::new(Self { world: Mutex::new(world), events: Events::default(), down: watch::Sender::new(None), latency })
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the engine down with these words, or up again. Instances live on.
    pub(super) fn set_down(&self, words: Option<String>) {
        self.down.send_replace(words);
    }

    pub(super) fn downs(&self) -> watch::Receiver<Option<String>> {
        self.down.subscribe()
    }

    /// The next `times` successful operations of that name act, but their answer is lost.
    pub(super) fn lose_replies(&self, operation: &str, times: u32) {
        self.world().lost_replies.insert(operation.to_owned(), times);
    }

    /// Runs one operation as a caller of a real engine sees it: it may be down, slow, die meanwhile, or lose the answer.
    pub(super) async fn answer<T>(
        &self,
        cx: &OpContext,
        operation: &'static str,
        act: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let act = async {
            if !self.latency.is_zero() {
                tokio::time::sleep(self.latency).await;
            }
            act.await
        };
        let outcome = tokio::select! {
            biased;
            words = went_down(self.downs()) => Err(unavailable(operation, &words)),
            () = cx.cancel.cancelled() => Err(Error::new(ErrorKind::Cancelled, operation, "the caller withdrew it")),
            () = passed(cx.deadline) => Err(Error::new(ErrorKind::Timeout, operation, "the deadline passed")),
            outcome = act => outcome,
        };
        self.keep_reply(operation)?;
        outcome
    }

    fn keep_reply(&self, operation: &'static str) -> Result<()> {
        let mut world = self.world();
        match world.lost_replies.get_mut(operation) {
            Some(left) if *left > 0 => {
                *left -= 1;
                Err(unavailable(operation, "the connection was closed before the answer came"))
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn unavailable(operation: &'static str, words: &str) -> Error {
    Error::new(ErrorKind::Unavailable, operation, format!("the engine does not answer: {words}"))
}

/// Resolves when the engine is down, with its last words.
pub(super) async fn went_down(mut down: watch::Receiver<Option<String>>) -> String {
    match down.wait_for(Option::is_some).await {
        Ok(words) => words.clone().unwrap_or_default(),
        Err(_) => "gone".to_owned(),
    }
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        // A timer would let one more poll through.
        Some(at) if at <= Instant::now() => {}
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
