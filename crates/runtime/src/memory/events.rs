//! The engine's events: kept for a while, numbered, replayed from any number.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use futures_util::stream;
use jiff::Timestamp;
use tokio::sync::watch;

use super::engine::{Engine, unavailable, went_down};
use super::instance::Instance;
use crate::{Cursor, Error, ErrorKind, Event, EventKind, EventStream, Identity, InstanceId, Result};

/// Events kept for readers that come back.
const KEPT: usize = 16_384;

#[derive(Debug, Default)]
struct Log {
    /// Number of the first event kept.
    first: u64,
    kept: VecDeque<Event>,
}

/// The log and the bell that rings when it grows.
#[derive(Debug, Default)]
pub(super) struct Events {
    log: Mutex<Log>,
    grown: watch::Sender<u64>,
}

impl Events {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports something about an instance.
    pub(super) fn report(&self, instance: &Instance, time: Timestamp, kind: EventKind) {
        self.push(instance.id.clone(), Some(instance.name.clone()), instance.identity.clone(), time, kind);
    }

    /// All that are kept.
    pub(super) fn all(&self) -> Vec<Event> {
        self.log().kept.iter().cloned().collect()
    }

    /// Reports something about an image.
    pub(super) fn report_image(&self, id: &str, name: &str, time: Timestamp, action: &str) {
        let kind = EventKind::Image { action: action.to_owned() };
        self.push(InstanceId(id.to_owned()), Some(name.to_owned()), None, time, kind);
    }

    fn push(&self, id: InstanceId, name: Option<String>, identity: Option<Identity>, time: Timestamp, kind: EventKind) {
        let next = {
            let mut log = self.log();
            let next = log.first + log.kept.len() as u64 + 1;
            log.kept.push_back(Event { cursor: Cursor::at(next.to_string()), time, id, name, identity, kind });
            if log.kept.len() > KEPT {
                log.kept.pop_front();
                log.first += 1;
            }
            next
        };
        self.grown.send_replace(next);
    }

    /// How many events came before this cursor.
    fn seen(&self, from: &Cursor) -> Result<u64> {
        let log = self.log();
        let Some(place) = &from.0 else { return Ok(log.first + log.kept.len() as u64) };
        let invalid = |words: &str| Error::new(ErrorKind::Invalid, "watch", format!("cursor `{place}` {words}"));
        let seen: u64 = place.parse().map_err(|_| invalid("is not one of this runtime"))?;
        if seen < log.first { Err(invalid("is older than the events that are kept")) } else { Ok(seen) }
    }

    fn after(&self, seen: u64) -> Option<Event> {
        let log = self.log();
        let at = usize::try_from(seen.checked_sub(log.first)?).ok()?;
        log.kept.get(at).cloned()
    }
}

/// Where a reader stands.
struct Reader {
    engine: Arc<Engine>,
    seen: u64,
    grown: watch::Receiver<u64>,
    ended: bool,
}

/// The stream from a cursor; it stands when this returns.
pub(super) fn watch(engine: &Arc<Engine>, from: &Cursor) -> Result<EventStream> {
    let grown = engine.events.grown.subscribe();
    let seen = engine.events.seen(from)?;
    let reader = Reader { engine: Arc::clone(engine), seen, grown, ended: false };
    Ok(stream::unfold(reader, next).boxed())
}

async fn next(mut reader: Reader) -> Option<(Result<Event>, Reader)> {
    while !reader.ended {
        reader.grown.borrow_and_update();
        if let Some(event) = reader.engine.events.after(reader.seen) {
            reader.seen += 1;
            return Some((Ok(event), reader));
        }
        tokio::select! {
            biased;
            words = went_down(reader.engine.downs()) => {
                reader.ended = true;
                return Some((Err(unavailable("watch", &words)), reader));
            }
            _ = reader.grown.changed() => {}
        }
    }
    None
}
