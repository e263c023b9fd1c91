//! An engine that is late, fails, and loses replies.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hythe_runtime::layers::{Call, Operation, Policy};
use hythe_runtime::{Error, ErrorKind, Result};

use crate::rng::Rng;

/// What goes wrong, by chance.
#[derive(Debug)]
pub(crate) struct Chaos {
    rng: Mutex<Rng>,
    active: AtomicBool,
    /// The registry answers.
    reached: AtomicBool,
    pub(crate) faults: AtomicU64,
}

/// The same chaos around every connection to the engine.
#[derive(Debug, Clone)]
pub(crate) struct Around(pub(crate) Arc<Chaos>);

#[derive(Debug, Clone, Copy)]
enum Fate {
    Works,
    Fails(ErrorKind),
    LosesReply(ErrorKind),
}

impl Chaos {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let rng = Mutex::new(Rng::new(seed ^ 0x00c0_ffee));
        Arc::new(Self { rng, active: AtomicBool::new(true), reached: AtomicBool::new(true), faults: AtomicU64::new(0) })
    }

    pub(crate) fn rage(&self, active: bool) {
        self.active.store(active, Ordering::Relaxed);
    }

    pub(crate) fn reach(&self, reached: bool) {
        self.reached.store(reached, Ordering::Relaxed);
    }

    /// The registry goes, or comes back.
    pub(crate) fn reach_otherwise(&self) -> bool {
        !self.reached.fetch_xor(true, Ordering::Relaxed)
    }

    /// How late it is before and after it acts, and what becomes of it.
    fn fate(&self, operation: Operation) -> (Duration, Fate, Duration) {
        let mut rng = self.rng.lock().unwrap();
        let mut late = || Duration::from_micros(rng.below(5000));
        let (before, after) = (late(), late());
        if !self.active.load(Ordering::Relaxed) || !rng.once_in(12) {
            return (before, Fate::Works, after);
        }
        self.faults.fetch_add(1, Ordering::Relaxed);
        let kind = *rng.pick(&[ErrorKind::Unavailable, ErrorKind::Timeout]);
        let fate = if rng.once_in(2) { Fate::LosesReply(kind) } else { Fate::Fails(kind) };
        let slow = if rng.once_in(3) { rng.while_() } else { before };
        // A stream that stands is no call that could be repeated.
        (slow, if operation == Operation::Watch { Fate::Fails(kind) } else { fate }, after)
    }
}

impl Policy for Around {
    async fn around<'a, T, F>(&'a self, call: Call<'a>, act: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let (before, fate, after) = self.0.fate(call.operation);
        tokio::time::sleep(before).await;
        if call.operation == Operation::Pull && !self.0.reached.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unavailable, "pull", "the registry cannot be reached"));
        }
        let error = |kind| Error::new(kind, call.operation.name(), "a simulated fault");
        match fate {
            Fate::Fails(kind) => Err(error(kind)),
            Fate::Works => {
                let outcome = act().await;
                tokio::time::sleep(after).await;
                outcome
            }
            Fate::LosesReply(kind) => {
                act().await?;
                tokio::time::sleep(after).await;
                Err(error(kind))
            }
        }
    }
}
