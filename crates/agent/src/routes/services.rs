//! Services: deploy, look, stop, start, restart, remove.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use hythe_api::{
    Deploy, DeployOutcome, DeployQuery, Explain, Explained, FieldProblem, Kill, Operation, Scope, SecretsQuery,
    ServiceDetail, ServiceRow, ServiceStatus, Undeploy, WorkloadStatus,
};
use hythe_controller::{DeployOptions, WorkloadState};
use hythe_runtime::Error;
use hythe_spec::Service;
use hythe_store::{EventFilter, HealthState, Phase};

use crate::error::{ApiError, ApiResult, bad_request, invalid_service};
use crate::{App, masked, view};

/// Events shown with a status.
const RECENT: u32 = 20;

pub(crate) async fn list(State(app): State<App>) -> ApiResult<Json<Vec<ServiceRow>>> {
    super::apart(app, rows).await.map(Json)
}

fn rows(app: &App) -> Result<Vec<ServiceRow>, Error> {
    Ok(app.controller.services()?.into_iter().map(|record| row(app, record)).collect())
}

fn row(app: &App, record: hythe_store::ServiceRecord) -> ServiceRow {
    ServiceRow {
        running: app.controller.count_workloads(&record.desired.name, is_up),
        name: record.desired.name,
        active: record.desired.active,
        components: record.desired.components.len(),
        updated: record.updated,
    }
}

fn is_up(state: &WorkloadState) -> bool {
    state.observed.phase == Phase::Running && state.observed.health != HealthState::Unhealthy
}

pub(crate) async fn show(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<SecretsQuery>,
) -> ApiResult<Json<ServiceDetail>> {
    let desired = masked::unless(query.show_secrets, app.controller.service(&name)?.desired)?;
    let workloads = app.controller.workloads_of(&name).iter().map(view::workload).collect();
    Ok(Json(ServiceDetail { desired, workloads }))
}

pub(crate) async fn status(State(app): State<App>, Path(name): Path<String>) -> ApiResult<Json<ServiceStatus>> {
    app.controller.service(&name)?;
    let states = app.controller.workloads_of(&name);
    let differences = app.controller.differences_of(&states).await;
    let status = |(state, found): (&WorkloadState, Vec<hythe_controller::Difference>)| WorkloadStatus {
        workload: view::workload(state),
        differences: found.into_iter().map(view::difference).collect(),
    };
    let workloads = states.iter().zip(differences).map(status).collect();
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
    let Json(service) = body?;
    if service.name != name {
        return Err(bad_request(format!("the path names `{name}`, the service `{}`", service.name)));
    }
    check(&service)?;
    let shown = query.show_secrets;
    let DeployQuery { dry_run, component, force, pull, show_secrets: _, to_be_set } = query;
    let to_be_set = to_be_set.filter(|_| dry_run).unwrap_or_default();
    let unset_secrets = to_be_set.split(',').map(str::to_owned).collect();
    let options = DeployOptions { component, force, pull, unset_secrets };
    if dry_run {
        let plan = app.controller.plan_deploy(&service, &options)?;
        let outcome = if plan.is_unchanged() { DeployOutcome::Unchanged } else { DeployOutcome::Planned };
        return Ok((StatusCode::OK, Json(view::deploy(&plan, outcome, None, shown))));
    }
    let deployed = app.controller.deploy(&service, &options)?;
    Ok(match deployed.operation {
        None => (StatusCode::OK, Json(view::deploy(&deployed.plan, DeployOutcome::Unchanged, None, shown))),
        Some(operation) => {
            let id = Some(operation.record().id);
            (StatusCode::ACCEPTED, Json(view::deploy(&deployed.plan, DeployOutcome::Accepted, id, shown)))
        }
    })
}

fn check(service: &Service) -> ApiResult<()> {
    let problems: Vec<FieldProblem> = service
        .validate()
        .into_iter()
        .map(|problem| FieldProblem { path: problem.path, message: problem.message, hint: problem.hint })
        .chain(masked::sent_back(service))
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
    body: Result<Json<Scope>, JsonRejection>,
) -> ApiResult<(StatusCode, Json<Operation>)> {
    let Json(scope) = body?;
    accepted(app.controller.stop(&name, scope.component.as_deref(), scope.grace))
}

pub(crate) async fn start(
    State(app): State<App>,
    Path(name): Path<String>,
    body: Result<Json<Scope>, JsonRejection>,
) -> ApiResult<(StatusCode, Json<Operation>)> {
    let Json(scope) = body?;
    accepted(app.controller.start_service(&name, scope.component.as_deref()))
}

pub(crate) async fn restart(
    State(app): State<App>,
    Path(name): Path<String>,
    body: Result<Json<Scope>, JsonRejection>,
) -> ApiResult<(StatusCode, Json<Operation>)> {
    let Json(scope) = body?;
    accepted(app.controller.restart(&name, scope.component.as_deref(), scope.grace))
}

pub(crate) async fn kill(
    State(app): State<App>,
    Path(name): Path<String>,
    body: Result<Json<Kill>, JsonRejection>,
) -> ApiResult<(StatusCode, Json<Operation>)> {
    let Json(kill) = body?;
    accepted(app.controller.kill(&name, kill.component.as_deref(), kill.signal))
}

pub(super) fn accepted(
    begun: Result<std::sync::Arc<hythe_controller::OperationHandle>, Error>,
) -> ApiResult<(StatusCode, Json<Operation>)> {
    let operation = begun.map_err(ApiError::from)?;
    Ok((StatusCode::ACCEPTED, Json(view::operation(&operation.record()))))
}

pub(crate) async fn explain(
    State(app): State<App>,
    Query(query): Query<SecretsQuery>,
    body: Result<Json<Explain>, JsonRejection>,
) -> ApiResult<Json<Vec<Explained>>> {
    let Json(asked) = body?;
    check(&asked.service)?;
    app.controller.runtimes().tried().await;
    let explained = app.controller.explain(&asked.service, asked.runtime.as_deref())?;
    let explained = explained.into_iter().map(|(component, runtime, native)| {
        let native = masked::document_unless(query.show_secrets, native);
        let asked = asked.service.component(&component);
        let image_health = asked.is_some_and(|component| component.health.is_none() && !component.no_health);
        Explained { component, runtime, image_health, native }
    });
    Ok(Json(explained.collect()))
}

#[cfg(test)]
mod tests;
