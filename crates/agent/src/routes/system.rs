//! The agent itself.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use hythe_api::Version;
use serde_json::Value;

use crate::App;

/// It works when its store can be read.
pub(crate) async fn healthz(State(app): State<App>) -> (StatusCode, &'static str) {
    match app.controller.events().bounds() {
        Ok(_) => (StatusCode::OK, "ok\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the store cannot be read\n"),
    }
}

pub(crate) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], crate::metrics::render(&app))
}

pub(crate) async fn version(State(app): State<App>) -> Json<Version> {
    Json(Version {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        owner: app.controller.owner().to_owned(),
        pid: std::process::id(),
        started: app.started,
        state_dir: app.config.state_dir.display().to_string(),
        warnings: app.warnings.to_vec(),
    })
}

pub(crate) async fn openapi() -> Json<Value> {
    Json(hythe_api::document())
}
