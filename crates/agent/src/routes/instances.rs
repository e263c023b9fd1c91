//! Every instance on the host, managed by Hythe or not.

use std::convert::Infallible;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures_util::{Stream, StreamExt, stream};
use hythe_api::{InstanceChange, InstanceEvent, InstanceQuery, InstanceSnapshot};
use hythe_discovery::{InstanceStream, StreamItem};
use hythe_runtime::{Error, ErrorKind};

use crate::App;
use crate::error::ApiResult;
use crate::instance_view::View;

pub(crate) async fn list(State(app): State<App>, Query(query): Query<InstanceQuery>) -> ApiResult<Response> {
    if let Some(name) = &query.runtime {
        app.controller.runtimes().is_configured(name)?;
    }
    let InstanceQuery { all, foreign, runtime, follow: _, show_secrets } = query.clone();
    let view = View { all, foreign, runtime, show_secrets };
    if !query.follow {
        let snapshot = view.snapshot(&app.discovery.snapshot().await);
        return Ok(Json(answered(snapshot)?).into_response());
    }
    let reader = app.discovery.follow().await;
    let closing = app.closing.clone().cancelled_owned();
    let events = events(reader, view).map(|event| sse(&event)).take_until(closing).map(Ok::<_, Infallible>);
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

/// Nothing is not the same as nobody who could say.
fn answered(snapshot: InstanceSnapshot) -> Result<InstanceSnapshot, Error> {
    if snapshot.runtimes.iter().any(|runtime| runtime.connected) {
        return Ok(snapshot);
    }
    let reasons = snapshot
        .runtimes
        .iter()
        .map(|runtime| format!("{}: {}", runtime.name, runtime.error.as_deref().unwrap_or("not connected")));
    let reasons = reasons.collect::<Vec<_>>().join("; ");
    Err(Error::new(ErrorKind::Unavailable, "instances", format!("no runtime answers ({reasons})"))
        .hint("`hythe runtimes` shows what was tried"))
}

struct Feed {
    reader: InstanceStream,
    view: View,
    last: u64,
}

/// The snapshot, then what changes; after a gap nothing.
fn events(reader: InstanceStream, view: View) -> impl Stream<Item = InstanceEvent> {
    let snapshot = &reader.snapshot;
    let change = InstanceChange::Snapshot(Box::new(view.snapshot(snapshot)));
    let first = InstanceEvent { id: snapshot.id, after: None, time: snapshot.time, change };
    let feed = Feed { last: first.id, reader, view };
    let rest = stream::unfold(feed, |mut feed| async move { feed.next().await.map(|event| (event, feed)) });
    stream::iter([first]).chain(rest)
}

impl Feed {
    async fn next(&mut self) -> Option<InstanceEvent> {
        loop {
            let (id, time, change) = match self.reader.next().await? {
                StreamItem::Event(event) => match self.view.change(&event.change) {
                    Some(change) => (event.id, event.time, change),
                    None => continue,
                },
                StreamItem::Gap(missed) => (
                    self.last.saturating_add(missed),
                    hythe_runtime::Clock::system().now(),
                    InstanceChange::Gap { missed },
                ),
            };
            let after = Some(std::mem::replace(&mut self.last, id));
            return Some(InstanceEvent { id, after, time, change });
        }
    }
}

fn sse(event: &InstanceEvent) -> Event {
    let data = serde_json::to_string(event).unwrap_or_default();
    Event::default().id(event.id.to_string()).event(event.change.kind()).data(data)
}

#[cfg(test)]
mod tests;
