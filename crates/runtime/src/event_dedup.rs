//! A stream of events kept going over ends that are none: each line told once, though whoever is asked again repeats some.
//!
//! Podman ends its events well and without a word, by its command line and by its API, when their file grew too large and it begins another one.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// How far another call goes back behind the newest line: an engine's processes may write late and not in order.
pub const OVERLAP: Duration = Duration::from_secs(5);
/// Calls that end at once in a row, until the engine is taken for broken.
pub const PATIENCE: u32 = 5;
/// A call that ends sooner and tells nothing new did not end because of a new file.
const AT_ONCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);

/// Lines passed on, as far as another call may repeat them, and how the calls went.
#[derive(Debug)]
pub struct EventDeduplicator {
    beginning: Timestamp,
    newest: Timestamp,
    lines: BTreeSet<(Timestamp, Vec<u8>)>,
    began: Instant,
    fruitful: bool,
    fruitless: u32,
}

impl EventDeduplicator {
    /// A first call begins now; nothing before that moment is wanted.
    pub fn new(beginning: Timestamp) -> Self {
        let (lines, began) = (BTreeSet::new(), Instant::now());
        Self { beginning, newest: beginning, lines, began, fruitful: false, fruitless: 0 }
    }

    /// Notes a line; whether it is new.
    pub fn take(&mut self, time: Timestamp, line: &[u8]) -> bool {
        let new = self.lines.insert((time, line.to_vec()));
        self.fruitful |= new;
        self.newest = self.newest.max(time);
        let edge = self.resume();
        while self.lines.first().is_some_and(|(time, _)| *time < edge) {
            self.lines.pop_first();
        }
        new
    }

    /// From when on another call has to read.
    pub fn resume(&self) -> Timestamp {
        self.newest.checked_sub(OVERLAP).unwrap_or(self.beginning).max(self.beginning)
    }

    /// A call ended well: waits until another one is due, which begins then. False: the last ones told nothing and ended at once, and so would this.
    pub async fn again(&mut self) -> bool {
        let fruitful = self.fruitful || self.began.elapsed() > AT_ONCE;
        self.fruitless = if fruitful { 0 } else { self.fruitless + 1 };
        if self.fruitless >= PATIENCE {
            return false;
        }
        tokio::time::sleep(PAUSE * self.fruitless).await;
        (self.began, self.fruitful) = (Instant::now(), false);
        true
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn only_what_may_come_again_is_remembered() {
        let mut told = EventDeduplicator::new(at(98));
        assert!(told.take(at(100), b"a") && !told.take(at(100), b"a") && told.take(at(100), b"another"));
        assert_eq!(told.resume(), at(98), "nothing before the beginning is asked for");
        assert!(told.take(at(200), b"b") && told.take(at(199), b"late"));
        assert_eq!((told.lines.len(), told.resume()), (2, at(200) - OVERLAP));
        assert!(!told.take(at(199), b"late"));
    }

    #[tokio::test]
    async fn ends_at_once_are_borne_for_a_while() {
        let mut told = EventDeduplicator::new(at(0));
        assert!(told.take(at(1), b"a") && told.again().await);
        for _ in 1..PATIENCE {
            assert!(told.again().await);
        }
        assert!(!told.again().await, "nothing new, and none lasted");
    }
}
