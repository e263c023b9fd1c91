//! Snapshots: make, list, show, remove.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use hythe_api::{
    CreateSnapshot, Operation, RestoreSnapshot, RuntimeQuery, Snapshot, SnapshotDetail, SnapshotMount, SnapshotQuery,
};
use hythe_controller::SnapshotOn;

use super::services::accepted;
use crate::App;
use crate::error::{ApiResult, problem};

pub(crate) async fn list(State(app): State<App>, Query(query): Query<SnapshotQuery>) -> ApiResult<Json<Vec<Snapshot>>> {
    let all = app.controller.snapshots(query.runtime.as_deref(), query.service.as_deref()).await?;
    Ok(Json(all.into_iter().map(snapshot_of).collect()))
}

pub(crate) async fn create(
    State(app): State<App>,
    body: Result<Json<CreateSnapshot>, JsonRejection>,
) -> ApiResult<(StatusCode, Json<Operation>)> {
    let Json(asked) = body?;
    accepted(app.controller.snapshot(&asked.workload, asked.name.as_deref()))
}

pub(crate) async fn restore(
    State(app): State<App>,
    Path(workload): Path<String>,
    body: Result<Json<RestoreSnapshot>, JsonRejection>,
) -> ApiResult<(StatusCode, Json<Operation>)> {
    let Json(asked) = body?;
    accepted(app.controller.restore(&workload, asked.snapshot.as_deref()).await)
}

pub(crate) async fn show(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<RuntimeQuery>,
) -> ApiResult<Json<SnapshotDetail>> {
    let (found, mounts) = app.controller.snapshot_mounts(&name, query.runtime.as_deref()).await?;
    let (mounts, problem) = match mounts {
        Ok(mounts) => (mounts, None),
        Err(error) => (Vec::new(), Some(problem(&error))),
    };
    let mount = |mount: hythe_runtime::SnapshotMount| {
        let hythe_runtime::SnapshotMount { kind, source, options } = mount;
        SnapshotMount { kind, source, options }
    };
    Ok(Json(SnapshotDetail { snapshot: snapshot_of(found), mounts: mounts.into_iter().map(mount).collect(), problem }))
}

pub(crate) async fn remove(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<RuntimeQuery>,
) -> ApiResult<StatusCode> {
    app.controller.remove_snapshot(&name, query.runtime.as_deref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn snapshot_of(found: SnapshotOn) -> Snapshot {
    let SnapshotOn { runtime, snapshot } = found;
    let hythe_runtime::Snapshot { name, id, identity, size, created } = snapshot;
    Snapshot {
        name,
        workload: identity.workload(),
        service: identity.service,
        component: identity.component,
        runtime,
        id,
        size,
        created,
        generation: identity.generation,
        attempt: identity.attempt,
    }
}

#[cfg(test)]
mod tests;
