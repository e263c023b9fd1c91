//! `hythe sync`: check every file, ask the agent about every service, then change.

use std::path::PathBuf;

use comfy_table::Color;
use hythe_api::{ComponentAction, Deploy, DeployOutcome, DeployQuery, Operation, Problem};
use hythe_client::{Client, ClientError};
use serde::Serialize;

use super::deploy::{images, last_log_lines, plan, quotes_its_log};
use super::{connect, secret};
use crate::args::{self, Wait};
use crate::format;
use crate::output::{Cell, Printer};
use crate::progress;
use crate::report::{Failure, Outcome};
use crate::service_file::{self, Loaded};

/// What became of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Fate {
    Unchanged,
    Planned,
    Accepted,
    Deployed,
    Failed,
}

#[derive(Debug, Serialize)]
struct Row {
    service: String,
    file: PathBuf,
    outcome: Fate,
    /// What the agent does or would do.
    deploy: Option<Deploy>,
    /// How that ended, where it was waited for.
    result: Option<Operation>,
    /// Why it was not accepted.
    problem: Option<Problem>,
}

pub(super) async fn run(args: args::Sync, printer: Printer<'_>) -> Outcome {
    let services = service_file::load_all(service_file::spread(&args.files)?, printer)?;
    let secrets: Vec<_> = services.iter().map(|(_, loaded)| secret::read(&loaded.secrets)).collect::<Outcome<_>>()?;
    let client = connect(printer).await?;
    let pull = args.pull.map(args::PullWhen::policy);
    let asked = DeployQuery { show_secrets: args.show_secrets, pull, ..DeployQuery::default() };
    let planned = plan_all(&client, &services, &asked).await?;
    if !args.no_build {
        for (_, Loaded { service, builds, .. }) in &services {
            let wanted = images::Wanted { service, component: None, builds };
            images::provide(&client, &wanted, args.dry_run, printer).await?;
        }
    }
    if args.dry_run {
        return show_plan(planned, &services, printer);
    }
    for values in secrets {
        secret::send(&client, values).await?;
    }
    // All are accepted before any is waited for: they are brought up side by side.
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for (file, loaded) in &services {
        let query = DeployQuery { pull, ..DeployQuery::default() };
        let deploy = client.deploy(&loaded.service.name, &loaded.service, &query).await;
        rows.push(accepted(file, loaded, deploy, &mut failures)?);
    }
    for row in &mut rows {
        conclude(&client, row, args.wait, printer, &mut failures).await?;
    }
    printer.list(&rows, &["SERVICE", "OUTCOME", "COMPONENTS", "FILE"], cells)?;
    Failure::all(failures)
}

/// What the agent would do with each, or why it refuses any: then nothing is done at all.
async fn plan_all(client: &Client, services: &[(PathBuf, Loaded)], asked: &DeployQuery) -> Outcome<Vec<Deploy>> {
    let (mut planned, mut failures) = (Vec::new(), Vec::new());
    for (_, Loaded { service, secrets, .. }) in services {
        let to_be_set = secret::names(secrets);
        let query = DeployQuery { dry_run: true, to_be_set, ..asked.clone() };
        match client.deploy(&service.name, service, &query).await {
            Ok(deploy) => planned.push(deploy),
            Err(error @ ClientError::Problem(_)) => failures.push(Failure::from(error)),
            Err(error) => return Err(error.into()),
        }
    }
    Failure::all(failures).map(|()| planned)
}

fn show_plan(planned: Vec<Deploy>, services: &[(PathBuf, Loaded)], printer: Printer<'_>) -> Outcome {
    let fate = |deploy: &Deploy| match deploy.outcome {
        DeployOutcome::Unchanged => Fate::Unchanged,
        DeployOutcome::Accepted | DeployOutcome::Planned => Fate::Planned,
    };
    let rows: Vec<Row> = planned
        .into_iter()
        .zip(services)
        .map(|(deploy, (file, _))| Row {
            service: deploy.service.clone(),
            file: file.clone(),
            outcome: fate(&deploy),
            deploy: Some(deploy),
            result: None,
            problem: None,
        })
        .collect();
    printer.list(&rows, &["SERVICE", "OUTCOME", "COMPONENTS", "FILE"], cells)?;
    let changed = rows.iter().filter(|row| row.outcome == Fate::Planned).filter_map(|row| row.deploy.as_ref());
    for deploy in changed.filter(|_| !printer.settings.json) {
        printer.data("\n")?;
        plan::show(deploy, printer)?;
    }
    Ok(())
}

/// A refusal of one service, which another client may have caused since it was planned, stops no other.
fn accepted(
    file: &std::path::Path,
    loaded: &Loaded,
    deploy: Result<Deploy, ClientError>,
    failures: &mut Vec<Failure>,
) -> Outcome<Row> {
    let row = |outcome, deploy, problem| Row {
        service: loaded.service.name.clone(),
        file: file.to_owned(),
        outcome,
        deploy,
        result: None,
        problem,
    };
    match deploy {
        Ok(deploy) => {
            let fate = match deploy.outcome {
                DeployOutcome::Unchanged => Fate::Unchanged,
                DeployOutcome::Accepted | DeployOutcome::Planned => Fate::Accepted,
            };
            Ok(row(fate, Some(deploy), None))
        }
        Err(ClientError::Problem(problem)) => {
            failures.push(ClientError::Problem(problem.clone()).into());
            Ok(row(Fate::Failed, None, Some(*problem)))
        }
        Err(error) => Err(error.into()),
    }
}

async fn conclude(
    client: &Client,
    row: &mut Row,
    wait: Wait,
    printer: Printer<'_>,
    failures: &mut Vec<Failure>,
) -> Outcome {
    row.deploy.iter().flat_map(|deploy| &deploy.warnings).for_each(|warning| printer.warn(warning));
    let Some(deploy) = &row.deploy else { return Ok(()) };
    let Some(id) = &deploy.operation else { return Ok(()) };
    // It was waited for only because it had not become well yet.
    let is_unchanged = deploy.components.iter().all(|component| component.action == ComponentAction::Keep);
    let Some(followed) = progress::wait(client, id, wait, printer).await? else { return Ok(()) };
    for workload in followed.failed.iter().filter(|_| !quotes_its_log(&followed.operation)) {
        last_log_lines(client, workload, printer).await;
    }
    row.result = Some(followed.operation.clone());
    row.outcome = match followed.outcome() {
        Ok(_) if is_unchanged => Fate::Unchanged,
        Ok(_) => Fate::Deployed,
        Err(failure) => {
            failures.push(failure);
            Fate::Failed
        }
    };
    Ok(())
}

fn cells(row: &Row) -> Vec<Cell> {
    let color = match row.outcome {
        Fate::Unchanged => Color::DarkGrey,
        Fate::Planned | Fate::Accepted => Color::Yellow,
        Fate::Deployed => Color::Green,
        Fate::Failed => Color::Red,
    };
    let components = row.deploy.iter().flat_map(|deploy| &deploy.components);
    let actions: Vec<String> = components.map(|one| format!("{} {}", one.action, one.component)).collect();
    vec![
        Cell::new(&row.service),
        Cell::new(format::of(&row.outcome)).fg(color),
        Cell::new(if actions.is_empty() { format::NOTHING.to_owned() } else { actions.join(", ") }),
        Cell::new(row.file.display()),
    ]
}
