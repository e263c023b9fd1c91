//! The shared state behind a runtime and the way every operation passes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hythe_runtime::{Clock, Error, ErrorKind, InstanceId, InstanceRef, NetworkInfo, OpContext, Result, watched};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::catalogue::Catalogue;
use crate::error::{missing, unavailable};
use crate::files::SharedTree;
use crate::instance::Instance;
use crate::scheduling::Scheduling;
use crate::watch::Events;

/// A named volume.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) tree: SharedTree,
    /// Somebody used it: the image's files are copied up once.
    pub(crate) used: bool,
}

/// Everything the engine knows.
#[derive(Debug)]
pub(crate) struct World {
    name: String,
    clock: Clock,
    made: u64,
    last: Timestamp,
    pub(crate) next_port: u16,
    pub(crate) instances: BTreeMap<InstanceId, Instance>,
    pub(crate) images: Catalogue,
    pub(crate) networks: BTreeMap<String, NetworkInfo>,
    pub(crate) volumes: BTreeMap<String, Volume>,
    lost_replies: BTreeMap<String, u32>,
}

impl World {
    pub(crate) fn new(name: &str, clock: Clock) -> Self {
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
    pub(crate) fn next_id(&mut self) -> String {
        self.made += 1;
        hex_digest(format!("{}/{}", self.name, self.made).as_bytes())
    }

    /// How many ids were made.
    pub(crate) fn made(&self) -> u64 {
        self.made
    }

    /// Now; later than every earlier answer.
    pub(crate) fn now(&mut self) -> Timestamp {
        let least = self.last.saturating_add(SignedDuration::from_nanos(1)).unwrap_or(self.last);
        self.last = self.clock.now().max(least);
        self.last
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Instance> {
        self.instances.values().find(|instance| instance.name == name)
    }

    /// As on a command line: the id or the name of an instance.
    pub(crate) fn named(&self, text: &str) -> InstanceRef {
        let id = InstanceRef::id(text);
        if self.find("control", &id).is_ok() { id } else { InstanceRef::name(text) }
    }

    pub(crate) fn find(&self, operation: &'static str, instance: &InstanceRef) -> Result<&Instance> {
        let found = match instance {
            InstanceRef::Id(id) => self.instances.get(id),
            InstanceRef::Name(name) => self.by_name(name),
        };
        found.ok_or_else(|| missing(operation, "instance", instance.as_str()))
    }

    pub(crate) fn find_mut(&mut self, operation: &'static str, instance: &InstanceRef) -> Result<&mut Instance> {
        let id = self.find(operation, instance)?.id.clone();
        self.get_mut(operation, &id)
    }

    pub(crate) fn get(&self, operation: &'static str, id: &InstanceId) -> Result<&Instance> {
        self.instances.get(id).ok_or_else(|| missing(operation, "instance", &id.0))
    }

    pub(crate) fn get_mut(&mut self, operation: &'static str, id: &InstanceId) -> Result<&mut Instance> {
        self.instances.get_mut(id).ok_or_else(|| missing(operation, "instance", &id.0))
    }
}

/// Lower-case hexadecimal SHA-256.
pub(crate) fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the runtime, its control and its tasks share.
#[derive(Debug)]
pub(crate) struct Engine {
    world: Mutex<World>,
    pub(crate) events: Events,
    down: watched::Sender<Option<String>>,
    latency: Duration,
    pub(crate) scheduling: Option<Scheduling>,
}

impl Engine {
    pub(crate) fn new(world: World, latency: Duration, scheduling: Option<Scheduling>) -> Arc<Self> {
        Arc::new(Self {
            world: Mutex::new(world),
            events: Events::default(),
            down: watched::Sender::new(None),
            latency,
            scheduling,
        })
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the engine down with these words, or up again. Instances live on.
    pub(crate) fn set_down(&self, words: Option<String>) {
        self.down.send_replace(words);
    }

    pub(crate) fn downs(&self) -> watched::Receiver<Option<String>> {
        self.down.subscribe()
    }

    /// The next `times` successful operations of that name act, but their answer is lost.
    pub(crate) fn lose_replies(&self, operation: &str, times: u32) {
        self.world().lost_replies.insert(operation.to_owned(), times);
    }

    /// Runs one operation as a caller of a real engine sees it: it may be down, slow, die meanwhile, or lose the answer.
    pub(crate) async fn answer<T>(
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

/// Resolves when the engine is down, with its last words.
pub(crate) async fn went_down(mut down: watched::Receiver<Option<String>>) -> String {
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
