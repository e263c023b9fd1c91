//! The event stream.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures_util::{Stream, StreamExt, stream};
use hythe_api::event::EventQuery;
use hythe_controller::EventHub;
use hythe_store::{EventFilter, EventRecord};
use serde_json::json;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::error::ApiResult;
use crate::{App, view};

/// Events read from the store at once.
const BATCH: usize = 500;

pub(crate) async fn list(
    State(app): State<App>,
    headers: HeaderMap,
    Query(query): Query<EventQuery>,
) -> ApiResult<Response> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    let after = last.or(query.after);
    let hub = app.controller.events().clone();
    let filter =
        EventFilter { after: after.unwrap_or(0), service: query.service, workload: query.workload, limit: query.limit };
    if !query.follow {
        let events: Vec<_> = hub.read(&filter)?.into_iter().map(view::event).collect();
        return Ok(Json(events).into_response());
    }
    // Listening begins before the bounds are read, so that nothing falls between.
    let live = hub.listen();
    let (oldest, newest) = hub.bounds()?;
    let gap = after.filter(|after| after + 1 < oldest).map(|after| gap_event(after, oldest));
    let filter = EventFilter { after: after.unwrap_or(newest), limit: None, ..filter };
    let follower = Follower { hub, live, filter, ready: Vec::new().into_iter() };
    let closing = app.closing.clone().cancelled_owned();
    let events = stream::iter(gap).chain(follower.events()).take_until(closing).map(Ok::<_, Infallible>);
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

struct Follower {
    hub: Arc<EventHub>,
    live: broadcast::Receiver<u64>,
    filter: EventFilter,
    ready: std::vec::IntoIter<EventRecord>,
}

impl Follower {
    fn events(self) -> impl Stream<Item = Event> {
        stream::unfold(self, |mut follower| async move {
            loop {
                if let Some(record) = follower.ready.next() {
                    return Some((sse(record), follower));
                }
                match follower.read() {
                    Some(records) if records.is_empty() => match follower.live.recv().await {
                        Ok(_) | Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => return None,
                    },
                    Some(records) => follower.ready = records.into_iter(),
                    None => return None,
                }
            }
        })
    }

    /// What was appended since; the store keeps it however slow the reader is, until retention forgets it.
    fn read(&mut self) -> Option<Vec<EventRecord>> {
        let mut records = self.hub.read(&self.filter).ok()?;
        records.truncate(BATCH);
        if let Some(last) = records.last() {
            self.filter.after = last.cursor;
        }
        Some(records)
    }
}

fn sse(record: EventRecord) -> Event {
    let event = view::event(record);
    Event::default()
        .id(event.cursor.to_string())
        .event(&event.kind)
        .data(serde_json::to_string(&event).unwrap_or_default())
}

/// Retention has forgotten what this reader has not seen.
fn gap_event(after: u64, oldest: u64) -> Event {
    let gap = hythe_api::Event {
        cursor: oldest.saturating_sub(1),
        time: jiff::Timestamp::now(),
        runtime: None,
        service: None,
        workload: None,
        kind: "gap".to_owned(),
        message: "events were forgotten before they were read".to_owned(),
        details: json!({ "after": after, "oldest": oldest }),
    };
    Event::default().event("gap").data(serde_json::to_string(&gap).unwrap_or_default())
}
