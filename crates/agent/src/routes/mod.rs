//! One file per noun; each turns a request into the controller's words and its answer into the wire's.

mod archives;
mod events;
mod follower;
mod images;
mod instances;
mod maintenance;
mod operations;
mod runtimes;
mod secrets;
mod services;
mod sessions;
mod snapshots;
mod system;
mod workloads;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Uri;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use hythe_runtime::{Error, ErrorKind};

use crate::App;
use crate::error::ApiError;
use crate::guard::guarded;

/// Processor time of each instance when it was last asked for, so that use can be reported as a rate.
pub(crate) type Samples = Arc<Mutex<BTreeMap<String, (Instant, u64)>>>;

/// The agent's routes; held against [`hythe_api::OPERATIONS`] by a test.
pub fn router(app: App) -> Router {
    engine_routes()
        .route_layer(from_fn_with_state(app.clone(), once_engines_were_tried))
        .route("/healthz", get(system::healthz))
        .route("/metrics", get(system::metrics))
        .route("/v1/version", get(system::version))
        .route("/v1/openapi.json", get(system::openapi))
        .route("/v1/runtimes", get(runtimes::list))
        .route("/v1/services", get(services::list))
        .route("/v1/explain", post(services::explain))
        .route("/v1/workloads", get(workloads::list))
        .route("/v1/events", get(events::list))
        .route("/v1/secrets", get(secrets::list))
        .route("/v1/secrets/{name}", get(secrets::show).put(secrets::set).delete(secrets::remove))
        .route("/v1/instances", get(instances::list))
        .route("/v1/operations", get(operations::list))
        .route("/v1/operations/{id}", get(operations::show).delete(operations::cancel))
        .route("/v1/operations/{id}/progress", get(operations::progress))
        .route("/v1/images", get(images::list).delete(images::remove))
        .route("/v1/images/local", get(images::show))
        .route("/v1/images/remote", get(images::remote))
        .route("/v1/images/pull", post(images::pull))
        .route("/v1/images/push", post(images::push))
        .route("/v1/images/build", post(images::build))
        .route("/v1/images/load", post(images::load))
        .route("/v1/images/prune", post(images::prune))
        .route("/v1/images/tag", post(images::tag))
        .fallback(no_such_path)
        .layer(from_fn_with_state(app.clone(), guarded))
        .with_state(app)
}

/// Those that ask engines about what is deployed.
fn engine_routes() -> Router<App> {
    Router::new()
        .route("/v1/services/{name}", get(services::show).put(services::deploy).delete(services::undeploy))
        .route("/v1/services/{name}/status", get(services::status))
        .route("/v1/services/{name}/stop", post(services::stop))
        .route("/v1/services/{name}/start", post(services::start))
        .route("/v1/services/{name}/restart", post(services::restart))
        .route("/v1/services/{name}/kill", post(services::kill))
        .route("/v1/adopt", post(maintenance::adopt))
        .route("/v1/purge", post(maintenance::purge))
        .route("/v1/gc", get(maintenance::garbage).post(maintenance::collect))
        .route("/v1/workloads/{name}/restore", post(snapshots::restore))
        .route("/v1/snapshots", get(snapshots::list).post(snapshots::create))
        .route("/v1/snapshots/{name}", get(snapshots::show).delete(snapshots::remove))
        .route("/v1/workloads/{name}", get(workloads::show))
        .route("/v1/workloads/{name}/logs", get(workloads::logs))
        .route("/v1/workloads/{name}/stats", get(workloads::stats))
        .route("/v1/workloads/{name}/exec", get(sessions::exec))
        .route("/v1/workloads/{name}/attach", get(sessions::attach))
        .route("/v1/workloads/{name}/files", get(archives::look))
        .route("/v1/workloads/{name}/archive", get(archives::archive))
}

/// Right after a start no engine is connected yet, which is no answer to whoever asks then.
async fn once_engines_were_tried(State(app): State<App>, request: Request, next: Next) -> Response {
    app.controller.runtimes().tried().await;
    next.run(request).await
}

/// Reads what may be much on a thread that no other request waits for.
async fn apart<T: Send + 'static>(
    app: App,
    read: impl FnOnce(&App) -> Result<T, Error> + Send + 'static,
) -> Result<T, ApiError> {
    let read = tokio::task::spawn_blocking(move || read(&app)).await;
    read.unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "request", "the answer was given up")))
        .map_err(Into::into)
}

async fn no_such_path(uri: Uri) -> ApiError {
    let hint = "`GET /v1/openapi.json` describes the API";
    Error::new(ErrorKind::NotFound, "request", format!("no such path: `{}`", uri.path())).hint(hint).into()
}
