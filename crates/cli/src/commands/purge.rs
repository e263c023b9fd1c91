//! `hythe purge`: the services that no file describes go, if they are at rest.

use comfy_table::Color;
use hythe_api::{Operation, Purge, PurgeOutcome, Purged};
use hythe_client::{Client, ClientError};
use serde::Serialize;

use super::connect;
use crate::args::{self, Wait};
use crate::output::{Cell, Printer};
use crate::progress;
use crate::report::{Failure, Outcome};
use crate::{format, service_file};

/// What became of one service.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    purged: Purged,
    /// How the operation ended, where it was waited for.
    result: Option<Operation>,
}

pub(super) async fn run(args: args::Purge, printer: Printer<'_>) -> Outcome {
    let described = service_file::load_all(service_file::spread(&args.files)?, printer)?;
    let described = described.into_iter().map(|(_, loaded)| loaded.service.name).collect();
    let client = connect(printer).await?;
    let asked = Purge { described, volumes: args.volumes, dry_run: args.dry_run };
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for purged in client.purge(&asked).await? {
        failures.extend(purged.problem.clone().map(|problem| Failure::from(ClientError::from(problem))));
        let result = match follow(&client, &purged, args.wait, printer).await {
            Ok(result) => result,
            Err(Failure::Operation(operation)) => {
                let result = (*operation).clone();
                failures.push(Failure::Operation(operation));
                Some(result)
            }
            Err(failure) => return Err(failure),
        };
        rows.push(Row { purged, result });
    }
    if rows.is_empty() && !printer.settings.json {
        printer.talk("every service is described; nothing was touched");
        return Ok(());
    }
    printer.list(&rows, &["SERVICE", "OUTCOME", "WORKLOADS", "VOLUMES"], row)?;
    Failure::all(failures)
}

async fn follow(client: &Client, purged: &Purged, wait: Wait, printer: Printer<'_>) -> Outcome<Option<Operation>> {
    let Some(id) = &purged.operation else { return Ok(None) };
    let followed = progress::wait(client, id, wait, printer).await?;
    followed.map(progress::Followed::outcome).transpose()
}

fn row(row: &Row) -> Vec<Cell> {
    let Row { purged, result } = row;
    let (outcome, color) = match (purged.outcome, result) {
        (PurgeOutcome::Refused, _) => ("refused: it runs, or its engine does not answer", Color::Red),
        (PurgeOutcome::Planned, _) => ("would be removed", Color::Yellow),
        (PurgeOutcome::Accepted, None) => ("being removed", Color::Yellow),
        (PurgeOutcome::Accepted, Some(result)) if result.error.is_none() => ("removed", Color::Green),
        (PurgeOutcome::Accepted, Some(_)) => ("failed", Color::Red),
    };
    let joined = |names: &[String]| if names.is_empty() { format::NOTHING.to_owned() } else { names.join(", ") };
    vec![
        Cell::new(&purged.service),
        Cell::new(outcome).fg(color),
        Cell::new(joined(&purged.workloads)),
        Cell::new(joined(&purged.volumes)),
    ]
}
