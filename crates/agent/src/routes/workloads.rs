//! Workloads: look, logs, resource use.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::PoisonError;
use std::time::Instant;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::{Stream, StreamExt};
use hythe_api::{LogLine, LogQuery, SecretsQuery, Stats, Workload, WorkloadDetail};
use hythe_controller::WorkloadState;
use hythe_runtime::{Error, ErrorKind, LogOptions, OpContext, StatsSample, StdStream};
use hythe_store::ImageCheck;

use crate::error::{ApiResult, problem};
use crate::{App, masked, view};

pub(crate) async fn list(State(app): State<App>) -> ApiResult<Json<Vec<Workload>>> {
    super::apart(app, |app| Ok(app.controller.each_workload(view::workload))).await.map(Json)
}

pub(crate) async fn show(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<SecretsQuery>,
) -> ApiResult<Json<WorkloadDetail>> {
    let shown = query.show_secrets;
    let state = app.controller.workload(&name)?;
    let seen = match app.controller.instance(&name).await {
        Ok((runtime, id)) => runtime.inspect(&OpContext::new("inspect"), &id).await.map(Some),
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
        Err(error) => Err(error),
    };
    let (observed, observed_error) = match seen {
        Ok(seen) => (seen.and_then(|seen| serde_json::to_value(seen).ok()), None),
        Err(error) => (None, Some(problem(&error))),
    };
    let check = state.observed.current.as_ref().and_then(|current| current.image_check.clone());
    let (image_health, image_health_error) = match check {
        Some(ImageCheck::Found(health)) => (Some(health), None),
        Some(ImageCheck::Unfit(reason)) => (None, Some(reason)),
        Some(ImageCheck::Absent) | None => (None, None),
    };
    Ok(Json(WorkloadDetail {
        image_health: masked::unless(shown, image_health)?,
        image_health_error,
        workload: view::workload(&state),
        placement: view::placement(&state.desired.placement),
        plan_hash: state.desired.spec.hash,
        desired: masked::unless(shown, state.desired.spec.component)?,
        observed: observed.map(|observed| masked::document_unless(shown, observed)),
        observed_error,
    }))
}

pub(crate) async fn logs(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<LogQuery>,
) -> ApiResult<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let (runtime, id) = app.controller.instance(&name).await?;
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
    let hythe_runtime::LogLine { stream: _, time, line: _, terminated, partial, after_gap } = line;
    LogLine { stream, time, text, base64, terminated, partial, after_gap }
}

/// An SSE event whose data is JSON.
pub(super) fn event<T: serde::Serialize>(name: &str, data: &T) -> Event {
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}

pub(crate) async fn stats(State(app): State<App>, Path(name): Path<String>) -> ApiResult<Json<Stats>> {
    let (runtime, id) = app.controller.instance(&name).await?;
    let unsupported =
        || Error::new(ErrorKind::Unsupported, "stats", format!("runtime `{}` has no statistics", runtime.info().name));
    let facet = runtime.stats().ok_or_else(unsupported)?;
    let sample = facet.sample(&OpContext::new("stats"), &id).await?;
    let rate = rate(&app, id.as_str(), &sample);
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
    let id_of = |state: &WorkloadState| state.observed.current.as_ref().and_then(|current| current.id.clone());
    let alive: BTreeSet<String> = app.controller.each_workload(id_of).into_iter().flatten().collect();
    let mut samples = app.samples.lock().unwrap_or_else(PoisonError::into_inner);
    samples.retain(|known, _| alive.contains(known));
    let (then, before) = samples.insert(id.to_owned(), (now, sample.cpu_nanos))?;
    let elapsed = u64::try_from(now.duration_since(then).as_nanos()).ok().filter(|elapsed| *elapsed > 0)?;
    sample.cpu_nanos.checked_sub(before).map(|used| used.saturating_mul(1000) / elapsed)
}
