//! Workloads: look, logs, resource use.

use std::convert::Infallible;
use std::sync::PoisonError;
use std::time::Instant;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::{Stream, StreamExt};
use hythe_api::{LogLine, LogQuery, Stats, Workload, WorkloadDetail};
use hythe_runtime::{Error, ErrorKind, LogOptions, OpContext, StatsSample, StdStream};

use crate::error::{ApiResult, problem};
use crate::{App, view};

pub(crate) async fn list(State(app): State<App>) -> Json<Vec<Workload>> {
    Json(app.controller.workloads().iter().map(view::workload).collect())
}

pub(crate) async fn show(State(app): State<App>, Path(name): Path<String>) -> ApiResult<Json<WorkloadDetail>> {
    let cell = app.controller.workload(&name)?;
    let seen = match app.controller.instance(&name) {
        Ok((runtime, id)) => runtime.inspect(&OpContext::new("inspect"), &id).await.map(Some),
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
        Err(error) => Err(error),
    };
    let (observed, observed_error) = match seen {
        Ok(seen) => (seen.and_then(|seen| serde_json::to_value(seen).ok()), None),
        Err(error) => (None, Some(problem(&error))),
    };
    Ok(Json(WorkloadDetail {
        workload: view::workload(&cell),
        placement: view::placement(&cell.desired.placement),
        plan_hash: cell.desired.recipe.hash,
        desired: cell.desired.recipe.component,
        observed,
        observed_error,
    }))
}

pub(crate) async fn logs(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<LogQuery>,
) -> ApiResult<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let (runtime, id) = app.controller.instance(&name)?;
    let unsupported =
        || Error::new(ErrorKind::Unsupported, "logs", format!("runtime `{}` keeps no logs", runtime.info().name));
    let facet = runtime.logs().ok_or_else(unsupported)?;
    let options = LogOptions { tail: query.tail, since: query.since, until: query.until, follow: query.follow };
    let lines = facet.logs(&OpContext::new("logs"), &id, &options).await?;
    let lines = lines.map(|line| match line {
        Ok(line) => event("line", &wire_line(line)),
        Err(error) => event("problem", &problem(&error)),
    });
    let end = futures_util::stream::once(async { Event::default().event("end").data("{}") });
    let closing = app.closing.clone().cancelled_owned();
    let stream = lines.chain(end).take_until(closing).map(Ok);
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

fn wire_line(line: hythe_runtime::LogLine) -> LogLine {
    use base64::Engine;
    let (text, base64) = match String::from_utf8(line.line.to_vec()) {
        // A bare carriage return would end an SSE line only inside JSON text, where it is escaped.
        Ok(text) => (Some(text), None),
        Err(error) => (None, Some(base64::engine::general_purpose::STANDARD.encode(error.into_bytes()))),
    };
    let stream = match line.stream {
        StdStream::Stdout => hythe_api::StdStream::Stdout,
        StdStream::Stderr => hythe_api::StdStream::Stderr,
    };
    LogLine { stream, time: line.time, text, base64, terminated: line.terminated }
}

/// An SSE event whose data is JSON.
pub(super) fn event<T: serde::Serialize>(name: &str, data: &T) -> Event {
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}

pub(crate) async fn stats(State(app): State<App>, Path(name): Path<String>) -> ApiResult<Json<Stats>> {
    let (runtime, id) = app.controller.instance(&name)?;
    let unsupported =
        || Error::new(ErrorKind::Unsupported, "stats", format!("runtime `{}` has no statistics", runtime.info().name));
    let facet = runtime.stats().ok_or_else(unsupported)?;
    let sample = facet.sample(&OpContext::new("stats"), &id).await?;
    let rate = rate(&app, &id.0, &sample);
    Ok(Json(Stats {
        workload: name,
        cpu_nanos: sample.cpu_nanos,
        cpu_millicores: rate,
        memory_bytes: sample.memory_bytes,
        memory_limit: sample.memory_limit,
        pids: sample.pids,
        network_rx_bytes: sample.network_rx_bytes,
        network_tx_bytes: sample.network_tx_bytes,
        block_read_bytes: sample.block_read_bytes,
        block_write_bytes: sample.block_write_bytes,
    }))
}

/// Processor use since the sample before; instances that are gone are forgotten.
fn rate(app: &App, id: &str, sample: &StatsSample) -> Option<u64> {
    let now = Instant::now();
    let alive: Vec<String> = app
        .controller
        .workloads()
        .into_iter()
        .filter_map(|cell| cell.observed.current.and_then(|current| current.id))
        .collect();
    let mut samples = app.samples.lock().unwrap_or_else(PoisonError::into_inner);
    samples.retain(|known, _| alive.contains(known));
    let (then, before) = samples.insert(id.to_owned(), (now, sample.cpu_nanos))?;
    let elapsed = u64::try_from(now.duration_since(then).as_nanos()).ok().filter(|elapsed| *elapsed > 0)?;
    sample.cpu_nanos.checked_sub(before).map(|used| used.saturating_mul(1000) / elapsed)
}
