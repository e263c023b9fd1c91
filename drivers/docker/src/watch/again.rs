//! Podman's API ends the stream of events well and without a word when Podman's file of events grew too large and it began another one: it is asked again.

use std::collections::BTreeSet;
use std::time::Duration;

use hythe_runtime::Result;
use tokio::time::Instant;

use super::{ENDED, NANOS_PER_SECOND, OPERATION, Place, moment};
use crate::client::ByteStream;
use crate::core::Core;
use crate::error::broken;

/// How far another request goes back behind the newest event seen: Podman's processes write late and not in order.
const OVERLAP: i64 = 5 * NANOS_PER_SECOND;
/// A stream that ends sooner and tells nothing new did not end because of a new file.
const AT_ONCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);
/// Streams that end at once in a row, until Podman is taken for broken.
const PATIENCE: u32 = 5;

/// What it takes to ask again.
pub(super) struct Again {
    core: Core,
    told: Told,
    began: Instant,
    fruitful: bool,
    fruitless: u32,
}

impl Again {
    pub(super) fn new(core: Core, from: Place) -> Self {
        let told = Told { beginning: from.nanos, newest: from.nanos, lines: BTreeSet::new() };
        Self { core, told, began: Instant::now(), fruitful: false, fruitless: 0 }
    }

    /// The stream that goes on; an error when Podman is gone, or ends every one at once.
    pub(super) async fn subscribe(&mut self) -> Result<ByteStream> {
        let fruitful = self.fruitful || self.began.elapsed() > AT_ONCE;
        self.fruitless = if fruitful { 0 } else { self.fruitless + 1 };
        if self.fruitless >= PATIENCE {
            return Err(broken(OPERATION, ENDED));
        }
        tokio::time::sleep(PAUSE * self.fruitless).await;
        (self.began, self.fruitful) = (Instant::now(), false);
        self.core.subscribe(moment(self.told.resume())).await
    }

    pub(super) fn is_new(&mut self, nanos: i64, line: &[u8]) -> bool {
        let new = self.told.take(nanos, line);
        self.fruitful |= new;
        new
    }
}

/// Events passed on, as far as another request may repeat them.
struct Told {
    /// Nothing before that moment is wanted; nanoseconds since 1970.
    beginning: i64,
    newest: i64,
    lines: BTreeSet<(i64, Vec<u8>)>,
}

impl Told {
    /// Notes an event; whether it is new.
    fn take(&mut self, nanos: i64, line: &[u8]) -> bool {
        let new = self.lines.insert((nanos, line.to_vec()));
        self.newest = self.newest.max(nanos);
        let edge = self.resume();
        while self.lines.first().is_some_and(|(nanos, _)| *nanos < edge) {
            self.lines.pop_first();
        }
        new
    }

    /// From when on the next request has to read.
    fn resume(&self) -> i64 {
        self.newest.saturating_sub(OVERLAP).max(self.beginning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_request_repeats_is_told_once() {
        let mut told = Told { beginning: 3, newest: 3, lines: BTreeSet::new() };
        assert!(told.take(4, b"one") && told.take(4, b"two") && !told.take(4, b"one"));
        assert_eq!(told.resume(), 3, "nothing before the beginning");
        assert!(told.take(OVERLAP + 10, b"late") && told.take(OVERLAP + 9, b"out of order"));
        assert_eq!((told.resume(), told.lines.len()), (10, 2), "what is not read again is forgotten");
        assert!(!told.take(OVERLAP + 9, b"out of order"));
    }
}
