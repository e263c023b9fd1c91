//! Operations: list, follow, cancel.

use std::convert::Infallible;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::{Stream, StreamExt, stream};
use hythe_api::Operation;
use hythe_controller::Joined;

use super::workloads::event;
use crate::error::ApiResult;
use crate::{App, view};

pub(crate) async fn list(State(app): State<App>) -> ApiResult<Json<Vec<Operation>>> {
    let all = super::apart(app, |app| Ok(app.controller.operations().all()?.iter().map(view::operation).collect()));
    all.await.map(Json)
}

pub(crate) async fn show(State(app): State<App>, Path(id): Path<String>) -> ApiResult<Json<Operation>> {
    Ok(Json(view::operation(&app.controller.operations().get(&id)?)))
}

pub(crate) async fn cancel(State(app): State<App>, Path(id): Path<String>) -> ApiResult<(StatusCode, Json<Operation>)> {
    Ok((StatusCode::ACCEPTED, Json(view::operation(&app.controller.operations().cancel(&id)?))))
}

pub(crate) async fn progress(
    State(app): State<App>,
    Path(id): Path<String>,
) -> ApiResult<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let joined = app.controller.operations().join(&id)?;
    let closing = app.closing.clone().cancelled_owned();
    let stream = reports(joined).take_until(closing).map(Ok);
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

fn reports(joined: Joined) -> impl Stream<Item = Event> {
    stream::unfold(Some(joined), |joined| async move {
        let mut joined = joined?;
        match joined.next().await {
            Some(report) => Some((event("progress", &view::progress(report)), Some(joined))),
            None => Some((event("done", &view::operation(&joined.record())), None)),
        }
    })
}
