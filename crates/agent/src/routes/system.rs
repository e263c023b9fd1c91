//! The agent itself.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use hythe_api::{Condition, Health, HealthReason, Version};
use serde_json::Value;

use crate::App;
use crate::error::ApiResult;

/// Degraded is no reason to restart an agent, so only one whose store cannot be read answers with a failure.
pub(crate) async fn healthz(State(app): State<App>) -> (StatusCode, Json<Health>) {
    let mut reasons = reasons(&app);
    let readable = app.controller.events().bounds();
    if let Err(error) = &readable {
        reasons.push(HealthReason {
            subject: "store".to_owned(),
            message: format!("cannot be read: {}", error.message()),
        });
    }
    let status = if reasons.is_empty() { Condition::Ok } else { Condition::Degraded };
    let code = if readable.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(Health { status, reasons }))
}

/// Runtimes that are named in the configuration are expected to answer, those that were looked for are not.
fn reasons(app: &App) -> Vec<HealthReason> {
    let faults = app.controller.health(!app.config.runtimes.is_empty());
    faults.into_iter().map(|fault| HealthReason { subject: fault.subject, message: fault.message }).collect()
}

pub(crate) async fn metrics(State(app): State<App>) -> ApiResult<impl IntoResponse> {
    let page = super::apart(app, |app| Ok(crate::metrics::render(app))).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page))
}

pub(crate) async fn version(State(app): State<App>) -> Json<Version> {
    let unwell = reasons(&app).into_iter().map(|reason| format!("{}: {}", reason.subject, reason.message));
    Json(Version {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        owner: app.controller.owner().to_owned(),
        pid: std::process::id(),
        started: app.started,
        state_dir: app.config.state_dir.display().to_string(),
        warnings: app.warnings.iter().cloned().chain(unwell).collect(),
    })
}

pub(crate) async fn openapi() -> Json<Value> {
    Json(hythe_api::document())
}
