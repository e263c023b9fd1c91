//! The durable, bounded stream of events.

use hythe_spec::vocabulary::{EventKind, OpenEnum};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
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
    /// Its kind; one that is read may be of another version of the agent.
    pub kind: OpenEnum<EventKind>,
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

/// The oldest events after a place, and what a reader must know of the others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventPage {
    /// Those that match, oldest first.
    pub events: Vec<EventRecord>,
    /// Everything up to this cursor has been looked at: the next page begins after it.
    pub reached: u64,
    /// Cursor of the oldest event that is kept; one past the newest where none is.
    pub oldest: u64,
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
            event.kind.as_str(),
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

    /// At most `most` events that match, the oldest after `filter.after` first; `filter.limit` is not looked at.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn events_page(&self, filter: &EventFilter, most: u32) -> Result<EventPage> {
        let connection = self.connection();
        let (oldest, newest) = bounds(&connection)?;
        let mut statement = connection.prepare_cached(
            "SELECT cursor, time, runtime, service, workload, kind, message, details FROM events
             WHERE cursor > ?1 AND (?2 IS NULL OR service = ?2) AND (?3 IS NULL OR workload = ?3)
             ORDER BY cursor LIMIT ?4",
        )?;
        let after = i64::try_from(filter.after).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![after, filter.service, filter.workload, most], read)?;
        let events = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        let is_full = events.len() >= most as usize;
        let reached = events.last().filter(|_| is_full).map_or(newest.max(filter.after), |last| last.cursor);
        Ok(EventPage { events, reached, oldest })
    }

    /// Cursor of the oldest kept event and of the newest there ever was; where none is kept the oldest is one past the newest.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn event_bounds(&self) -> Result<(u64, u64)> {
        bounds(&self.connection())
    }

    /// Forgets all but the newest `keep` events, and those that are older than all events since `since`. What is kept has no holes.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn prune_events(&self, keep: u64, since: Option<Timestamp>) -> Result<()> {
        let keep = i64::try_from(keep).unwrap_or(i64::MAX);
        self.write(|connection| {
            connection.execute(
                "DELETE FROM events WHERE cursor <= (SELECT COALESCE(MAX(cursor), 0) FROM events) - ?1",
                [keep],
            )?;
            if let Some(since) = since {
                // Times are texts of one form, so they compare as such to the second.
                let young = "SELECT cursor FROM events WHERE time >= ?1 ORDER BY cursor LIMIT 1";
                let first: Option<i64> =
                    connection.query_row(young, [since.to_string()], |row| row.get(0)).optional()?;
                connection.execute("DELETE FROM events WHERE cursor < ?1", [first.unwrap_or(i64::MAX)])?;
            }
            Ok(())
        })
    }
}

fn bounds(connection: &Connection) -> Result<(u64, u64)> {
    let (oldest, newest): (Option<i64>, i64) = connection
        .prepare_cached(
            "SELECT (SELECT MIN(cursor) FROM events), COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let unsigned = |cursor: i64| u64::try_from(cursor).unwrap_or_default();
    Ok((unsigned(oldest.unwrap_or(newest + 1)), unsigned(newest)))
}

fn read(row: &Row<'_>) -> rusqlite::Result<EventRecord> {
    let cursor: i64 = row.get(0)?;
    let time: String = row.get(1)?;
    let (kind, details): (String, String) = (row.get(5)?, row.get(7)?);
    let event = NewEvent {
        time: time.parse().unwrap_or(Timestamp::UNIX_EPOCH),
        runtime: row.get(2)?,
        service: row.get(3)?,
        workload: row.get(4)?,
        kind: OpenEnum::read(&kind),
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
            time: hythe_host::now(),
            runtime: None,
            service: Some("shop".to_owned()),
            workload: None,
            kind: OpenEnum::read(kind),
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
        store.prune_events(0, None).unwrap();
        assert_eq!(store.event_bounds().unwrap(), (4, 3), "what was forgotten stays known as such");
        assert_eq!(commit("d")[0].cursor, 4);
        let kinds: Vec<_> =
            store.events(&EventFilter::default()).unwrap().into_iter().map(|e| e.event.kind.to_string()).collect();
        assert_eq!(kinds, ["d"]);
        assert_eq!(store.event_bounds().unwrap(), (4, 4));
    }

    #[test]
    fn kind_of_another_version_is_read_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("hythe.db")).unwrap().store;
        let insert = "INSERT INTO events (time, kind, message, details) VALUES ('', ?1, '', '')";
        for kind in ["started", "of.tomorrow", ""] {
            store.connection().execute(insert, [kind]).unwrap();
        }
        let read = store.events(&EventFilter::default()).unwrap();
        let known: Vec<_> = read.iter().map(|record| (record.event.kind.as_str(), record.event.kind.known())).collect();
        assert_eq!(known, [("started", Some(EventKind::Started)), ("of.tomorrow", None), ("", None)]);
    }

    #[test]
    fn the_newest_are_given_oldest_first() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("hythe.db")).unwrap().store;
        let events = ["a", "b", "c", "d"].map(event).to_vec();
        store.commit(&Transaction { events, ..Transaction::default() }).unwrap();
        let filter = EventFilter { limit: Some(2), service: Some("shop".to_owned()), ..EventFilter::default() };
        let kinds: Vec<_> = store.events(&filter).unwrap().into_iter().map(|e| e.event.kind.to_string()).collect();
        assert_eq!(kinds, ["c", "d"]);
    }

    fn cursors(events: &[EventRecord]) -> Vec<u64> {
        events.iter().map(|record| record.cursor).collect()
    }

    #[test]
    fn pages_go_on_from_the_oldest_and_pass_over_what_does_not_match() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("hythe.db")).unwrap().store;
        let other = NewEvent { service: None, ..event("x") };
        let events = vec![event("a"), other.clone(), event("b"), event("c"), other];
        store.commit(&Transaction { events, ..Transaction::default() }).unwrap();
        let mut filter = EventFilter { service: Some("shop".to_owned()), ..EventFilter::default() };
        let first = store.events_page(&filter, 2).unwrap();
        assert_eq!((cursors(&first.events), first.reached, first.oldest), (vec![1, 3], 3, 1));
        filter.after = first.reached;
        let second = store.events_page(&filter, 2).unwrap();
        assert_eq!((cursors(&second.events), second.reached), (vec![4], 5));
        filter.after = second.reached;
        let last = store.events_page(&filter, 2).unwrap();
        assert_eq!((cursors(&last.events), last.reached), (vec![], 5));
    }

    #[test]
    fn age_forgets_from_the_oldest_on_and_leaves_no_hole() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("hythe.db")).unwrap().store;
        let at = |second: i64| NewEvent { time: Timestamp::from_second(second).unwrap(), ..event("a") };
        // The clock was set back before the fourth.
        let events = [10, 20, 40, 15, 50].map(at).to_vec();
        store.commit(&Transaction { events, ..Transaction::default() }).unwrap();
        let since = Some(Timestamp::from_second(30).unwrap());
        store.prune_events(100, since).unwrap();
        assert_eq!(cursors(&store.events(&EventFilter::default()).unwrap()), [3, 4, 5]);
        store.prune_events(100, Some(Timestamp::from_second(99).unwrap())).unwrap();
        assert_eq!(store.event_bounds().unwrap(), (6, 5));
    }

    /// 30 MB of events, of which 1,000 are kept.
    #[test]
    fn neither_the_file_nor_its_log_grows_with_what_was_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hythe.db");
        let store = Store::open(&path).unwrap().store;
        let long = NewEvent { message: "m".repeat(3000), ..event("a") };
        for _ in 0..40 {
            store.commit(&Transaction { events: vec![long.clone(); 250], ..Transaction::default() }).unwrap();
            store.prune_events(1000, None).unwrap();
        }
        let size = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().len();
        assert!(size("hythe.db") < 8 << 20, "the file has {} bytes", size("hythe.db"));
        assert!(size("hythe.db-wal") < 8 << 20, "its log has {} bytes", size("hythe.db-wal"));
    }
}
