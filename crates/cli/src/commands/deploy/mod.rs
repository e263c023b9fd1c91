//! `hythe deploy`: check everything here, build what is missing, ask the agent, follow it to the outcome.

pub(super) mod images;
pub(super) mod plan;

use hythe_api::{ComponentAction, Deploy, DeployOutcome, DeployQuery, LogQuery, Operation, SecretsQuery};
use hythe_client::Client;
use hythe_spec::{Build, SecretSource, Service};
use serde::Serialize;

use super::{connect, secret};
use crate::args;
use crate::escape::{Allow, escape};
use crate::output::Printer;
use crate::progress::{self, Followed};
use crate::report::{Failure, Outcome};
use crate::service_file::{self, Loaded, Source};

const LINES_OF_A_FAILURE: u64 = 10;
/// Bytes of such a line.
const LONGEST_SHOWN: usize = 4 << 10;

/// What is to be deployed: read here, or known to the agent.
#[derive(Debug)]
pub(super) enum Desired {
    Here(Loaded),
    Deployed(String),
}

/// Finds and checks what was named, before any network.
pub(super) fn desired(target: &str, printer: Printer<'_>) -> Outcome<Desired> {
    match service_file::locate(target) {
        Source::File(path) => service_file::load(&path, printer).map(Desired::Here),
        Source::Deployed(name) => Ok(Desired::Deployed(name)),
    }
}

impl Desired {
    /// The service, asked of the agent where it is not here.
    pub(super) async fn service(&self, client: &Client) -> Outcome<Service> {
        match self {
            Self::Here(loaded) => Ok(loaded.service.clone()),
            Self::Deployed(name) => match client.service(name, &SecretsQuery::SHOWN).await {
                Ok(detail) => Ok(detail.desired),
                Err(error) if error.is_not_found() => Err(neither(name)),
                Err(error) => Err(error.into()),
            },
        }
    }

    fn secrets(&self) -> &[SecretSource] {
        match self {
            Self::Here(loaded) => &loaded.secrets,
            Self::Deployed(_) => &[],
        }
    }

    fn builds(&self) -> &[Build] {
        match self {
            Self::Here(loaded) => &loaded.builds,
            Self::Deployed(_) => &[],
        }
    }
}

fn neither(name: &str) -> Failure {
    Failure::NotFound {
        message: format!("`{name}` is neither a file nor a directory here nor a deployed service"),
        hint: "`hythe services` lists the services; a file is named with its path".to_owned(),
    }
}

pub(super) async fn run(args: args::Deploy, printer: Printer<'_>) -> Outcome {
    let desired = desired(&args.target, printer)?;
    if let (Desired::Here(loaded), Some(component)) = (&desired, &args.component) {
        known(component, &loaded.service)?;
    }
    let secrets = secret::read(desired.secrets())?;
    let to_be_set = args.dry_run.then(|| secret::names(desired.secrets())).flatten();
    let client = connect(printer).await?;
    let service = desired.service(&client).await?;
    if !args.no_build {
        let wanted =
            images::Wanted { service: &service, component: args.component.as_deref(), builds: desired.builds() };
        images::provide(&client, &wanted, args.dry_run, printer).await?;
    }
    if !args.dry_run {
        secret::send(&client, secrets).await?;
    }
    let show_secrets = args.show_secrets;
    let args::Deploy { dry_run, component, force, .. } = args;
    let pull = args.pull.map(args::PullWhen::policy);
    let query = DeployQuery { dry_run, component, force, pull, show_secrets, to_be_set };
    let deploy = client.deploy(&service.name, &service, &query).await?;
    deploy.warnings.iter().for_each(|warning| printer.warn(warning));
    conclude(&client, deploy, args.wait, printer).await
}

fn known(component: &str, service: &Service) -> Outcome {
    if service.component(component).is_some() {
        return Ok(());
    }
    let names: Vec<_> = service.components.iter().map(|component| format!("`{}`", component.name)).collect();
    Err(Failure::NotFound {
        message: format!("service `{}` has no component `{component}`", service.name),
        hint: format!("it has {}", names.join(", ")),
    })
}

async fn conclude(client: &Client, deploy: Deploy, wait: args::Wait, printer: Printer<'_>) -> Outcome {
    match (deploy.outcome, &deploy.operation) {
        (DeployOutcome::Unchanged, _) => {
            printer.talk(format_args!("nothing changed in `{}`, nothing was touched", deploy.service));
            print(&deploy, None, printer)
        }
        (DeployOutcome::Accepted, Some(id)) => {
            if deploy.components.iter().all(|component| component.action == ComponentAction::Keep) {
                printer.talk(format_args!("nothing changed in `{}`, which is not healthy yet", deploy.service));
            }
            let followed = progress::wait(client, id, wait, printer).await?;
            finish(client, &deploy, followed, printer).await
        }
        (DeployOutcome::Planned | DeployOutcome::Accepted, _) if printer.settings.json => print(&deploy, None, printer),
        (DeployOutcome::Planned | DeployOutcome::Accepted, _) => plan::show(&deploy, printer),
    }
}

async fn finish(client: &Client, deploy: &Deploy, followed: Option<Followed>, printer: Printer<'_>) -> Outcome {
    let Some(followed) = followed else {
        return print(deploy, None, printer);
    };
    print(deploy, Some(&followed.operation), printer)?;
    for workload in followed.failed.iter().filter(|_| !quotes_its_log(&followed.operation)) {
        last_log_lines(client, workload, printer).await;
    }
    followed.outcome()?;
    printer.talk(format_args!("deployed `{}`", deploy.service));
    Ok(())
}

/// Whether its error shows the last log lines already.
pub(super) fn quotes_its_log(operation: &Operation) -> bool {
    operation.error.as_ref().is_some_and(|problem| problem.detail.trim_end().contains('\n'))
}

/// The newest lines of a workload that failed. Where there are none, its failure still says why.
pub(super) async fn last_log_lines(client: &Client, workload: &str, printer: Printer<'_>) {
    let query = LogQuery { tail: Some(LINES_OF_A_FAILURE), ..LogQuery::default() };
    let Ok(lines) = super::logs::collect(client, workload, &query).await else {
        return;
    };
    if !lines.is_empty() {
        printer.talk(format_args!("last lines of `{workload}`:"));
    }
    for line in lines {
        let shown = &line[..line.len().min(LONGEST_SHOWN)];
        let mark = if shown.len() < line.len() { "…" } else { "" };
        printer.talk(format_args!("  {}{mark}", escape(&String::from_utf8_lossy(shown), Allow::Nothing)));
    }
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    deploy: &'a Deploy,
    /// How the operation ended, where it was waited for.
    result: Option<&'a Operation>,
}

fn print(deploy: &Deploy, result: Option<&Operation>, printer: Printer<'_>) -> Outcome {
    if printer.settings.json { printer.json(&Document { deploy, result }) } else { Ok(()) }
}
