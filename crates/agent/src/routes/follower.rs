//! One reader of the event stream: a task reads the store in batches and hands out no faster than the reader takes.
//!
//! A reader that takes nothing while much happens, or that retention has overtaken, gets a `gap` event and is disconnected: nothing is
//! ever skipped in silence, and no reader costs more than a few events of memory.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::response::sse::Event;
use futures_util::Stream;
use hythe_controller::EventHub;
use hythe_runtime::Clock;
use hythe_store::{EventFilter, EventKind, EventRecord};
use serde_json::json;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::serve::Peer;
use crate::view;

/// Events read from the store at once.
const BATCH: u32 = 500;
/// Events handed out that the connection has not taken yet.
const AHEAD: usize = 64;
/// A reader that takes nothing and is more events behind than this is too slow.
const BEHIND: u64 = 1000;
/// So long it may take nothing.
const STALLED: Duration = Duration::from_secs(5);
/// Time that a reader which was cut off has to take the rest; then its connection is closed under it.
const LINGER: Duration = Duration::from_secs(30);

/// Why a follower has ended.
enum End {
    /// Nobody reads any more, or the agent ends.
    Left,
    /// Its reader got a gap event.
    CutOff,
}

pub(super) struct Follower {
    hub: Arc<EventHub>,
    live: broadcast::Receiver<u64>,
    filter: EventFilter,
    out: mpsc::Sender<Event>,
}

/// What a reader gets; dropped by whoever serves it once all was taken or the reader is gone.
pub(super) struct Events {
    events: mpsc::Receiver<Event>,
    _taken: DropGuard,
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.poll_recv(cx)
    }
}

impl Follower {
    /// Follows from the filter's place on; `peer` is the connection, to be closed under a reader that never takes the end.
    pub(super) fn start(
        hub: Arc<EventHub>,
        live: broadcast::Receiver<u64>,
        filter: EventFilter,
        peer: Option<Peer>,
        closing: CancellationToken,
    ) -> Events {
        // One place is kept for the gap, so that it can always be sent.
        let (out, events) = mpsc::channel(AHEAD + 1);
        let taken = CancellationToken::new();
        let guard = taken.clone().drop_guard();
        tokio::spawn(async move {
            let Ok(last) = out.clone().try_reserve_owned() else {
                return;
            };
            let follower = Self { hub, live, filter, out };
            let end = tokio::select! {
                () = closing.cancelled() => return,
                end = follower.run(last) => end,
            };
            if matches!(end, End::CutOff) && tokio::time::timeout(LINGER, taken.cancelled()).await.is_err() {
                peer.iter().for_each(Peer::close);
            }
        });
        Events { events, _taken: guard }
    }

    async fn run(mut self, last: OwnedPermit<Event>) -> End {
        loop {
            let Ok(page) = self.hub.page(&self.filter, BATCH) else {
                return End::Left;
            };
            let full = page.events.len() >= BATCH as usize;
            if self.is_overtaken(page.oldest) {
                last.send(gap_event(self.filter.after, page.oldest - 1, true));
                return End::CutOff;
            }
            for record in page.events {
                let cursor = record.cursor;
                match self.hand_out(record).await {
                    Ok(true) => self.filter.after = cursor,
                    Ok(false) => return End::Left,
                    Err(gap) => {
                        last.send(gap);
                        return End::CutOff;
                    }
                }
            }
            self.filter.after = page.reached;
            if !full && !self.more().await {
                return End::Left;
            }
        }
    }

    /// Waits for something new; false when there is no reader.
    async fn more(&mut self) -> bool {
        tokio::select! {
            () = self.out.closed() => false,
            news = self.live.recv() => !matches!(news, Err(RecvError::Closed)),
        }
    }

    /// Whether the reader has taken it in time; the gap where it is too slow.
    async fn hand_out(&self, record: EventRecord) -> Result<bool, Event> {
        loop {
            match tokio::time::timeout(STALLED, self.out.reserve()).await {
                Ok(Ok(place)) => {
                    place.send(sse(record));
                    return Ok(true);
                }
                Ok(Err(_)) => return Ok(false),
                Err(_) => self.still_in_time()?,
            }
        }
    }

    fn still_in_time(&self) -> Result<(), Event> {
        let (oldest, newest) = self.hub.bounds().unwrap_or_default();
        let after = self.filter.after;
        if self.is_overtaken(oldest) {
            return Err(gap_event(after, oldest - 1, true));
        }
        if newest.saturating_sub(after) > BEHIND {
            return Err(gap_event(after, newest, false));
        }
        Ok(())
    }

    /// Retention has forgotten what this reader has not seen.
    fn is_overtaken(&self, oldest: u64) -> bool {
        self.filter.after > 0 && oldest > self.filter.after + 1
    }
}

fn sse(record: EventRecord) -> Event {
    let event = view::event(record);
    Event::default()
        .id(event.cursor.to_string())
        .event(event.kind.as_str())
        .data(serde_json::to_string(&event).unwrap_or_default())
}

/// Events after `from` up to `to` are not given to this reader: they are forgotten, or it is too slow and may have them where it resumes.
/// The cursor is where that is.
pub(super) fn gap_event(from: u64, to: u64, lost: bool) -> Event {
    let (cursor, message) = if lost {
        (to, format!("events after {from} up to {to} were removed before they were read"))
    } else {
        (from, format!("this reader does not read and is disconnected; it can resume after {from}"))
    };
    let gap = hythe_api::Event {
        cursor,
        time: Clock::system().now(),
        runtime: None,
        service: None,
        workload: None,
        kind: EventKind::Gap.into(),
        message,
        details: json!({ "from": from, "to": to, "lost": lost }),
    };
    let data = serde_json::to_string(&gap).unwrap_or_default();
    Event::default().id(cursor.to_string()).event(EventKind::Gap.as_str()).data(data)
}
