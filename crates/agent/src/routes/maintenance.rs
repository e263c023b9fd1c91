//! Taking over, purging, collecting.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use hythe_api::{Adopt, Adopted, Collected, Garbage, Gc, GcQuery, NotCollected, Purge, PurgeOutcome, Purged};
use hythe_controller::{AdoptOptions, Candidate, GcOptions, PurgedService};

use crate::App;
use crate::error::{ApiResult, problem};

pub(crate) async fn adopt(
    State(app): State<App>,
    body: Result<Json<Adopt>, JsonRejection>,
) -> ApiResult<Json<Adopted>> {
    let Json(asked) = body?;
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
    let Json(asked) = body?;
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

pub(crate) async fn garbage(State(app): State<App>, Query(query): Query<GcQuery>) -> ApiResult<Json<Vec<Garbage>>> {
    let images_older_than = query.images_older_than.map(Duration::from_millis);
    let options = GcOptions { images_older_than, ..GcOptions::default() };
    Ok(Json(app.controller.garbage(options).await?.into_iter().map(shown).collect()))
}

pub(crate) async fn collect(
    State(app): State<App>,
    body: Result<Json<Gc>, JsonRejection>,
) -> ApiResult<Json<Collected>> {
    let Json(asked) = body?;
    let images_older_than = asked.images_older_than.map(Duration::from_millis);
    let collected = app.controller.collect(GcOptions { volumes: asked.volumes, images_older_than }).await?;
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
    let Candidate { object, reason, first_seen, observations, created, eligible } = candidate;
    Garbage {
        kind: object.kind.as_str().to_owned(),
        runtime: Some(object.runtime).filter(|runtime| !runtime.is_empty()),
        name: object.name,
        id: object.id,
        service: object.service,
        reason,
        first_seen,
        looks: observations,
        created,
        ripe: eligible,
    }
}
