//! Services: deploy, look, stop, start, restart, remove.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use hythe_api::{
    Deploy, DeployOutcome, DeployQuery, Explain, Explained, FieldProblem, Operation, Scope, ServiceDetail, ServiceRow,
    ServiceStatus, Undeploy, WorkloadStatus,
};
use hythe_controller::{Cell, DeployOptions};
use hythe_spec::Service;
use hythe_store::{EventFilter, HealthState, Phase};

use crate::error::{ApiError, ApiResult, bad_request, invalid_service};
use crate::{App, view};

/// Events shown with a status.
const RECENT: u32 = 20;

pub(crate) async fn list(State(app): State<App>) -> ApiResult<Json<Vec<ServiceRow>>> {
    let services = app.controller.services()?;
    let row = |record: hythe_store::ServiceRecord| {
        let name = record.desired.name;
        let running = app.controller.workloads_of(&name).iter().filter(|cell| is_up(cell)).count();
        ServiceRow {
            name,
            active: record.desired.active,
            components: record.desired.components.len(),
            running,
            updated: record.updated,
        }
    };
    Ok(Json(services.into_iter().map(row).collect()))
}

fn is_up(cell: &Cell) -> bool {
    cell.observed.phase == Phase::Running && cell.observed.health != HealthState::Unhealthy
}

pub(crate) async fn show(State(app): State<App>, Path(name): Path<String>) -> ApiResult<Json<ServiceDetail>> {
    let desired = app.controller.service(&name)?.desired;
    let workloads = app.controller.workloads_of(&name).iter().map(view::workload).collect();
    Ok(Json(ServiceDetail { desired, workloads }))
}

pub(crate) async fn status(State(app): State<App>, Path(name): Path<String>) -> ApiResult<Json<ServiceStatus>> {
    app.controller.service(&name)?;
    let cells = app.controller.workloads_of(&name);
    let differences = app.controller.differences_of(&cells).await;
    let status = |(cell, found): (&Cell, Vec<hythe_controller::Difference>)| WorkloadStatus {
        workload: view::workload(cell),
        differences: found.into_iter().map(view::difference).collect(),
    };
    let workloads = cells.iter().zip(differences).map(status).collect();
    let filter = EventFilter { service: Some(name.clone()), limit: Some(RECENT), ..EventFilter::default() };
    let events = app.controller.events().read(&filter)?.into_iter().map(view::event).collect();
    Ok(Json(ServiceStatus { service: name, workloads, events }))
}

pub(crate) async fn deploy(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<DeployQuery>,
    body: Result<Json<Service>, JsonRejection>,
) -> ApiResult<(StatusCode, Json<Deploy>)> {
    let Json(service) = body.map_err(|rejection| bad_request(rejection.body_text()))?;
    if service.name != name {
        return Err(bad_request(format!("the path names `{name}`, the service `{}`", service.name)));
    }
    check(&service)?;
    let options = DeployOptions { component: query.component, force: query.force };
    if query.dry_run {
        let plan = app.controller.plan_deploy(&service, &options)?;
        let outcome = if plan.is_unchanged() { DeployOutcome::Unchanged } else { DeployOutcome::Planned };
        return Ok((StatusCode::OK, Json(view::deploy(&plan, outcome, None))));
    }
    let deployed = app.controller.deploy(&service, &options)?;
    Ok(match deployed.operation {
        None => (StatusCode::OK, Json(view::deploy(&deployed.plan, DeployOutcome::Unchanged, None))),
        Some(operation) => {
            let id = Some(operation.record().id);
            (StatusCode::ACCEPTED, Json(view::deploy(&deployed.plan, DeployOutcome::Accepted, id)))
        }
    })
}

fn check(service: &Service) -> ApiResult<()> {
    let problems: Vec<FieldProblem> = service
        .validate()
        .into_iter()
        .map(|problem| FieldProblem { path: problem.path, message: problem.message, hint: problem.hint })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(invalid_service(problems)) }
}

pub(crate) async fn undeploy(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<Undeploy>,
) -> ApiResult<(StatusCode, Json<Operation>)> {
    accepted(app.controller.undeploy(&name, query.volumes))
}

pub(crate) async fn stop(
    State(app): State<App>,
    Path(name): Path<String>,
    Json(scope): Json<Scope>,
) -> ApiResult<(StatusCode, Json<Operation>)> {
    accepted(app.controller.stop(&name, scope.component.as_deref(), scope.grace))
}

pub(crate) async fn start(
    State(app): State<App>,
    Path(name): Path<String>,
    Json(scope): Json<Scope>,
) -> ApiResult<(StatusCode, Json<Operation>)> {
    accepted(app.controller.start_service(&name, scope.component.as_deref()))
}

pub(crate) async fn restart(
    State(app): State<App>,
    Path(name): Path<String>,
    Json(scope): Json<Scope>,
) -> ApiResult<(StatusCode, Json<Operation>)> {
    accepted(app.controller.restart(&name, scope.component.as_deref(), scope.grace))
}

pub(super) fn accepted(
    begun: Result<std::sync::Arc<hythe_controller::OperationHandle>, hythe_runtime::Error>,
) -> ApiResult<(StatusCode, Json<Operation>)> {
    let operation = begun.map_err(ApiError::from)?;
    Ok((StatusCode::ACCEPTED, Json(view::operation(&operation.record()))))
}

pub(crate) async fn explain(
    State(app): State<App>,
    body: Result<Json<Explain>, JsonRejection>,
) -> ApiResult<Json<Vec<Explained>>> {
    let Json(asked) = body.map_err(|rejection| bad_request(rejection.body_text()))?;
    check(&asked.service)?;
    app.controller.runtimes().tried().await;
    let explained = app.controller.explain(&asked.service, asked.runtime.as_deref())?;
    let explained = explained.into_iter().map(|(component, runtime, native)| Explained { component, runtime, native });
    Ok(Json(explained.collect()))
}
