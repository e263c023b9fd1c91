//! Taking over, purging, collecting.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use hythe_api::{Adopt, Adopted, Collected, Garbage, Gc, NotCollected, Purge, PurgeOutcome, Purged};
use hythe_controller::{AdoptOptions, Candidate, GcOptions, PurgedService};

use crate::App;
use crate::error::{ApiResult, bad_request, problem};

pub(crate) async fn adopt(
    State(app): State<App>,
    body: Result<Json<Adopt>, JsonRejection>,
) -> ApiResult<Json<Adopted>> {
    let Json(asked) = body.map_err(|rejection| bad_request(rejection.body_text()))?;
    let Adopt { instance, runtime, service, component, force } = asked;
    let adopted = app.controller.adopt(&AdoptOptions { instance, runtime, service, component, force }).await?;
    Ok(Json(Adopted {
        workload: adopted.workload,
        runtime: adopted.runtime,
        instance: adopted.instance.0,
        service: adopted.service,
        warnings: adopted.warnings,
    }))
}

pub(crate) async fn purge(
    State(app): State<App>,
    body: Result<Json<Purge>, JsonRejection>,
) -> ApiResult<(StatusCode, Json<Vec<Purged>>)> {
    let Json(asked) = body.map_err(|rejection| bad_request(rejection.body_text()))?;
    let purged = app.controller.purge(&asked.described, asked.volumes, asked.dry_run).await?;
    let status = if asked.dry_run { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(purged.services.into_iter().map(|service| purged_service(service, asked.dry_run)).collect())))
}

fn purged_service(service: PurgedService, dry_run: bool) -> Purged {
    let outcome = match (&service.refusal, dry_run) {
        (Some(_), _) => PurgeOutcome::Refused,
        (None, true) => PurgeOutcome::Planned,
        (None, false) => PurgeOutcome::Accepted,
    };
    Purged {
        service: service.name,
        outcome,
        workloads: service.workloads,
        volumes: service.volumes,
        problem: service.refusal.as_ref().map(problem),
        operation: service.operation.map(|operation| operation.record().id),
    }
}

pub(crate) async fn garbage(State(app): State<App>) -> ApiResult<Json<Vec<Garbage>>> {
    Ok(Json(app.controller.garbage().await?.into_iter().map(shown).collect()))
}

pub(crate) async fn collect(
    State(app): State<App>,
    body: Result<Json<Gc>, JsonRejection>,
) -> ApiResult<Json<Collected>> {
    let Json(asked) = body.map_err(|rejection| bad_request(rejection.body_text()))?;
    let collected = app.controller.collect(GcOptions { volumes: asked.volumes }).await?;
    let failed = collected.failed.into_iter();
    Ok(Json(Collected {
        removed: collected.removed.into_iter().map(shown).collect(),
        failed: failed
            .map(|(candidate, error)| NotCollected { garbage: shown(candidate), problem: problem(&error) })
            .collect(),
        waiting: collected.waiting.into_iter().map(shown).collect(),
    }))
}

fn shown(candidate: Candidate) -> Garbage {
    let Candidate { object, reason, first_seen, looks, created, ripe } = candidate;
    Garbage {
        kind: object.kind.as_str().to_owned(),
        runtime: Some(object.runtime).filter(|runtime| !runtime.is_empty()),
        name: object.name,
        id: object.id,
        service: object.service,
        reason,
        first_seen,
        looks,
        created,
        ripe,
    }
}
