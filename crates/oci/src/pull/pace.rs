//! How slow a registry may be: a transfer may take hours, but not stand still.

use std::time::{Duration, Instant};

/// Bytes a second, on average over the bound, below which a transfer counts as standing still.
const LEAST: u64 = 1 << 10;

/// Time spent waiting for one side of a transfer, over all its attempts.
pub(crate) struct Pace {
    bound: Duration,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    pub(crate) fn new(bound: Duration) -> Self {
        Self { bound, waited: Duration::ZERO, bytes: 0 }
    }

    /// Waits for what comes next; `None` once next to nothing has come for as long as the bound.
    pub(crate) async fn next<T>(&mut self, next: impl Future<Output = T>) -> Option<T> {
        if self.is_still() {
            return None;
        }
        if self.waited >= self.bound {
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        }
        let begun = Instant::now();
        let time_limit = if self.is_enough() { self.bound } else { self.bound - self.waited };
        let came = tokio::time::timeout(time_limit, next).await.ok();
        self.waited += begun.elapsed();
        came
    }

    /// A pause between attempts is no progress either.
    pub(crate) async fn pause(&mut self, pause: Duration) {
        tokio::time::sleep(pause).await;
        self.waited += pause;
    }

    pub(crate) fn received(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(crate) fn is_still(&self) -> bool {
        self.waited >= self.bound && !self.is_enough()
    }

    fn is_enough(&self) -> bool {
        self.bytes >= LEAST * self.bound.as_secs().max(1)
    }
}
