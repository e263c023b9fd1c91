//! The event stream: a list of what is kept, or what happens as it happens.

use std::convert::Infallible;

use axum::extract::{ConnectInfo, Query, State};
use axum::http::header::CONNECTION;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use axum::{Extension, Json};
use futures_util::{StreamExt, stream};
use hythe_api::event::EventQuery;
use hythe_store::EventFilter;

use super::follower::{Follower, gap_event};
use crate::error::ApiResult;
use crate::serve::Peer;
use crate::{App, view};

pub(crate) async fn list(
    State(app): State<App>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    headers: HeaderMap,
    Query(query): Query<EventQuery>,
) -> ApiResult<Response> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    let after = last.or(query.after);
    let hub = app.controller.events().clone();
    let filter =
        EventFilter { after: after.unwrap_or(0), service: query.service, workload: query.workload, limit: query.limit };
    if !query.follow {
        let read = move |_: &App| Ok(hub.read(&filter)?.into_iter().map(view::event).collect::<Vec<_>>());
        return Ok(Json(super::apart(app, read).await?).into_response());
    }
    // Listening begins before the bounds are read, so that nothing falls between.
    let live = hub.listen();
    let (oldest, newest) = hub.bounds()?;
    // From 0 means all that is kept: nobody has read anything before.
    let forgotten = after.filter(|after| *after > 0 && after + 1 < oldest);
    let gap = forgotten.map(|after| gap_event(after, oldest - 1, true));
    let begin = if gap.is_some() { oldest - 1 } else { after.unwrap_or(newest) };
    let filter = EventFilter { after: begin, limit: None, ..filter };
    let peer = peer.map(|Extension(ConnectInfo(peer))| peer);
    let events = Follower::start(hub, live, filter, peer, app.closing.clone());
    let closing = app.closing.clone().cancelled_owned();
    let events = stream::iter(gap).chain(events).take_until(closing).map(Ok::<Event, Infallible>);
    let mut response = Sse::new(events).keep_alive(KeepAlive::default()).into_response();
    // A reader that is cut off is disconnected, not left with a connection.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(response)
}
