//! The engine's events: kept for a while, numbered, replayed from any number.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use futures_util::stream;
use hythe_runtime::{Cursor, Event, EventKind, EventStream, Identity, InstanceId, Result, after_gap, watched};
use jiff::Timestamp;

use crate::engine::{Engine, went_down};
use crate::error::unavailable;
use crate::instance::Instance;

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
pub(crate) struct Events {
    log: Mutex<Log>,
    grown: watched::Sender<u64>,
    /// So many of the next ends of instances are not reported.
    lost: AtomicU32,
}

impl Events {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports something about an instance.
    pub(crate) fn report(&self, instance: &Instance, time: Timestamp, kind: EventKind) {
        let lose = |left: u32| left.checked_sub(1);
        let ended = matches!(kind, EventKind::Stopped { .. });
        if ended && self.lost.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lose).is_ok() {
            return;
        }
        self.push(instance.id.clone(), Some(instance.name.clone()), instance.identity.clone(), time, kind);
    }

    /// The next `times` ends of instances are not reported.
    pub(crate) fn lose_ends(&self, times: u32) {
        self.lost.store(times, Ordering::Relaxed);
    }

    /// All that are kept.
    pub(crate) fn all(&self) -> Vec<Event> {
        self.log().kept.iter().cloned().collect()
    }

    /// Reports something about an image.
    pub(crate) fn report_image(&self, id: &str, name: &str, time: Timestamp, action: &str) {
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

    /// How many events came before this cursor, and whether some that followed it are lost.
    fn seen(&self, from: &Cursor) -> (u64, bool) {
        let log = self.log();
        let now = log.first + log.kept.len() as u64;
        match from.0.as_ref().map(|place| place.parse::<u64>()) {
            None => (now, false),
            Some(Ok(seen)) if (log.first..=now).contains(&seen) => (seen, false),
            Some(Ok(seen)) if seen < log.first => (log.first, true),
            Some(_) => (now, true),
        }
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
    grown: watched::Receiver<u64>,
    ended: bool,
}

/// The stream from a cursor; it stands when this returns.
pub(crate) fn watch(engine: &Arc<Engine>, from: &Cursor) -> EventStream {
    let grown = engine.events.grown.subscribe();
    let (seen, lost) = engine.events.seen(from);
    let now = engine.world().now();
    let gap = lost.then(|| Event::gap(Cursor::at(seen.to_string()), now));
    let reader = Reader { engine: Arc::clone(engine), seen, grown, ended: false };
    after_gap(gap, stream::unfold(reader, next).boxed())
}

async fn next(mut reader: Reader) -> Option<(Result<Event>, Reader)> {
    while !reader.ended {
        reader.grown.mark_unchanged();
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
