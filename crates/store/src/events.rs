//! The durable, bounded stream of events.

use jiff::Timestamp;
use rusqlite::{Row, Transaction, params};
use serde_json::Value;

use crate::{Result, Store};

/// An event to append.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// When it happened.
    pub time: Timestamp,
    /// Runtime it happened on.
    pub runtime: Option<String>,
    /// Service it concerns.
    pub service: Option<String>,
    /// Workload it concerns.
    pub workload: Option<String>,
    /// Its kind.
    pub kind: String,
    /// It in a sentence.
    pub message: String,
    /// Its facts.
    pub details: Value,
}

/// An event as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRecord {
    /// Position, counting up without reuse.
    pub cursor: u64,
    /// The event.
    pub event: NewEvent,
}

/// Which events to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only after this cursor.
    pub after: u64,
    /// Only this service.
    pub service: Option<String>,
    /// Only this workload.
    pub workload: Option<String>,
    /// At most so many, the newest ones.
    pub limit: Option<u32>,
}

pub(crate) fn append(transaction: &Transaction<'_>, event: &NewEvent) -> Result<EventRecord> {
    transaction
        .prepare_cached(
            "INSERT INTO events (time, runtime, service, workload, kind, message, details) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            event.time.to_string(),
            event.runtime,
            event.service,
            event.workload,
            event.kind,
            event.message,
            event.details.to_string()
        ])?;
    let cursor = u64::try_from(transaction.last_insert_rowid()).unwrap_or_default();
    Ok(EventRecord { cursor, event: event.clone() })
}

impl Store {
    /// Events that match, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn events(&self, filter: &EventFilter) -> Result<Vec<EventRecord>> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT cursor, time, runtime, service, workload, kind, message, details FROM events
             WHERE cursor > ?1 AND (?2 IS NULL OR service = ?2) AND (?3 IS NULL OR workload = ?3)
             ORDER BY cursor DESC LIMIT ?4",
        )?;
        let limit = filter.limit.map_or(-1, i64::from);
        let after = i64::try_from(filter.after).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![after, filter.service, filter.workload, limit], read)?;
        let mut events = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        events.reverse();
        Ok(events)
    }

    /// Cursor of the newest and of the oldest kept event; both 0 where there is none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn event_bounds(&self) -> Result<(u64, u64)> {
        let connection = self.connection();
        let bounds: (i64, i64) = connection.query_row(
            "SELECT COALESCE(MIN(cursor), 0), COALESCE(MAX(cursor), 0) FROM events",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok((u64::try_from(bounds.0).unwrap_or_default(), u64::try_from(bounds.1).unwrap_or_default()))
    }

    /// Forgets all but the newest `keep` events.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn prune_events(&self, keep: u64) -> Result<()> {
        let keep = i64::try_from(keep).unwrap_or(i64::MAX);
        self.connection()
            .execute("DELETE FROM events WHERE cursor <= (SELECT COALESCE(MAX(cursor), 0) FROM events) - ?1", [keep])?;
        Ok(())
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<EventRecord> {
    let cursor: i64 = row.get(0)?;
    let time: String = row.get(1)?;
    let details: String = row.get(7)?;
    let event = NewEvent {
        time: time.parse().unwrap_or(Timestamp::UNIX_EPOCH),
        runtime: row.get(2)?,
        service: row.get(3)?,
        workload: row.get(4)?,
        kind: row.get(5)?,
        message: row.get(6)?,
        details: serde_json::from_str(&details).unwrap_or(Value::Null),
    };
    Ok(EventRecord { cursor: u64::try_from(cursor).unwrap_or_default(), event })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use crate::Transaction;

    fn event(kind: &str) -> NewEvent {
        NewEvent {
            time: Timestamp::now(),
            runtime: None,
            service: Some("shop".to_owned()),
            workload: None,
            kind: kind.to_owned(),
            message: String::new(),
            details: Value::Null,
        }
    }

    #[test]
    fn cursors_count_up_and_are_never_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("hythe.db")).unwrap().store;
        let commit =
            |kind: &str| store.commit(&Transaction { events: vec![event(kind)], ..Transaction::default() }).unwrap();
        for kind in ["a", "b", "c"] {
            commit(kind);
        }
        store.prune_events(0).unwrap();
        assert_eq!(commit("d")[0].cursor, 4);
        let kinds: Vec<_> = store.events(&EventFilter::default()).unwrap().into_iter().map(|e| e.event.kind).collect();
        assert_eq!(kinds, ["d"]);
        assert_eq!(store.event_bounds().unwrap(), (4, 4));
    }

    #[test]
    fn the_newest_are_given_oldest_first() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("hythe.db")).unwrap().store;
        let events = ["a", "b", "c", "d"].map(event).to_vec();
        store.commit(&Transaction { events, ..Transaction::default() }).unwrap();
        let filter = EventFilter { limit: Some(2), service: Some("shop".to_owned()), ..EventFilter::default() };
        let kinds: Vec<_> = store.events(&filter).unwrap().into_iter().map(|e| e.event.kind).collect();
        assert_eq!(kinds, ["c", "d"]);
    }
}
