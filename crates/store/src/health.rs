//! Whether the store can be written: what the last write said, and how much room is left for the next.

use std::sync::PoisonError;

use jiff::Timestamp;
use rusqlite::Connection;

use crate::{Error, Result, Store};

/// Bytes of the disk that no new request may use: as much as the log beside the file may grow, so that what runs can be written down to the end.
pub const RESERVE: u64 = 4 << 20;

/// Why nothing can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteFailure {
    /// When the first write failed that was followed by no good one.
    pub since: Timestamp,
    /// The last one's error in words.
    pub reason: String,
}

/// The store as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// The last write failed because of the disk.
    pub failure: Option<WriteFailure>,
    /// Bytes free on its disk; absent where that is unknown.
    pub free: Option<u64>,
}

impl Health {
    /// Less is free than is kept for what runs.
    pub fn is_low(&self) -> bool {
        self.free.is_some_and(|free| free < RESERVE)
    }
}

impl Store {
    /// What is known without writing anything: cheap.
    pub fn health(&self) -> Health {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Health { failure, free: self.free() }
    }

    /// As [`Store::health`]; where the last write failed, another one is tried first.
    pub fn probe(&self) -> Health {
        if self.health().failure.is_some() {
            // Its outcome is noted, which is what was asked for.
            let _ = self.write(touch);
        }
        self.health()
    }

    /// Whether a new request may be written.
    ///
    /// # Errors
    /// Why not: the last write failed and so does another one, or the disk is nearly full.
    pub fn has_room(&self) -> Result<()> {
        let health = self.health();
        if health.failure.is_some() {
            self.write(touch)?;
        }
        match health.free {
            Some(free) if free < RESERVE => Err(Error::Low { free }),
            _ => Ok(()),
        }
    }

    /// Bytes free for this process where the file is.
    fn free(&self) -> Option<u64> {
        let found = rustix::fs::statvfs(self.path()).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Every write goes through here, so that its outcome is known.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let outcome = work(&mut self.connection());
        let mut known = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match &outcome {
            Ok(_) => *known = None,
            Err(error) if error.is_of_the_disk() => {
                let since = known.take().map_or_else(hythe_host::now, |earlier| earlier.since);
                *known = Some(WriteFailure { since, reason: error.to_string() });
            }
            Err(_) => {}
        }
        outcome
    }
}

/// A write that changes nothing: SQLite writes the page all the same.
fn touch(connection: &mut Connection) -> Result<()> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(connection.pragma_update(None, "user_version", version)?)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn full() -> Error {
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), None).into()
    }

    #[test]
    fn a_failed_write_is_known_until_one_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("hythe.db")).unwrap().store;
        assert_eq!(store.health().failure, None);
        store.write::<()>(|_| Err(full())).unwrap_err();
        let first = store.health().failure.unwrap();
        assert_eq!(first.reason, "the disk with the store is full");
        store.write::<()>(|_| Err(full())).unwrap_err();
        assert_eq!(store.health().failure.unwrap().since, first.since);
        assert_eq!(store.probe().failure, None);
    }

    #[test]
    fn what_is_no_fault_of_the_disk_is_no_failure_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("hythe.db")).unwrap().store;
        let record = serde_json::from_str::<u8>("x").unwrap_err();
        store.write::<()>(|_| Err(Error::Record(record))).unwrap_err();
        assert_eq!(store.health().failure, None);
    }

    /// The page limit makes SQLite say what a full disk makes it say.
    #[test]
    fn a_real_refusal_by_sqlite_is_noted_and_probing_ends_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("hythe.db")).unwrap().store;
        let limit = |pages: i64| store.connection().pragma_update(None, "max_page_count", pages).unwrap();
        limit(1);
        let record = "x".repeat(1 << 20);
        let insert = |connection: &mut Connection| -> Result<()> {
            connection.execute("INSERT INTO services (name, record) VALUES ('a', ?1)", [&record])?;
            Ok(())
        };
        assert!(matches!(store.write(insert), Err(Error::Full(_))));
        assert!(store.health().failure.is_some());
        assert!(store.services().unwrap().is_empty(), "reading goes on");
        limit(1 << 20);
        assert_eq!(store.probe().failure, None);
        assert!(store.has_room().is_ok() || store.health().is_low());
    }
}
