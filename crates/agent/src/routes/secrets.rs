//! Secrets: set, list, look, remove. A value leaves the agent only where it is asked for.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hythe_api::{SecretDetail, SecretRow, SecretsQuery, SetSecret, SetSecretOutcome};
use hythe_controller::SecretUse;

use crate::App;
use crate::error::{ApiResult, bad_request};

pub(crate) async fn list(State(app): State<App>) -> ApiResult<Json<Vec<SecretRow>>> {
    Ok(Json(app.controller.secrets()?.into_iter().map(row).collect()))
}

fn row(found: SecretUse) -> SecretRow {
    let SecretUse { record, workloads } = found;
    SecretRow { name: record.name, size: record.size, updated: record.updated, workloads }
}

pub(crate) async fn show(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<SecretsQuery>,
) -> ApiResult<Json<SecretDetail>> {
    let (found, value) = app.controller.secret(&name)?;
    let value = query.show_secrets.then(|| STANDARD.encode(value));
    Ok(Json(SecretDetail { secret: row(found), value }))
}

pub(crate) async fn set(
    State(app): State<App>,
    Path(name): Path<String>,
    body: Result<Json<SetSecret>, JsonRejection>,
) -> ApiResult<Json<SetSecretOutcome>> {
    // The parser's own words may quote the value.
    let Json(asked) = body.map_err(|_| bad_request("the body is not a document with a `value`".to_owned()))?;
    let value = STANDARD.decode(asked.value).map_err(|_| bad_request("`value` is not base64".to_owned()))?;
    let changed = app.controller.set_secret(&name, &value)?;
    let (found, _) = app.controller.secret(&name)?;
    Ok(Json(SetSecretOutcome { changed, secret: row(found) }))
}

pub(crate) async fn remove(State(app): State<App>, Path(name): Path<String>) -> ApiResult<StatusCode> {
    app.controller.remove_secret(&name)?;
    Ok(StatusCode::NO_CONTENT)
}
