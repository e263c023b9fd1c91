//! `hythe operations`: what the agent does and has done; join it, cancel it.

use comfy_table::Color;
use hythe_api::{Operation, OperationState};
use hythe_spec::Millis;
use jiff::Timestamp;

use super::connect;
use crate::args::{Operations, OperationsCommand};
use crate::format;
use crate::output::{Cell, Printer};
use crate::progress;
use crate::report::{Failure, Outcome};

const HEAD: [&str; 6] = ["ID", "KIND", "SUBJECT", "STATE", "STARTED", "TOOK"];

pub(super) async fn run(args: Operations, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    match args.command {
        Some(OperationsCommand::Join { id, timeout }) => {
            let followed = progress::follow(&client, &id, timeout.map(Millis::duration), printer).await?;
            print(followed.outcome(), printer)
        }
        Some(OperationsCommand::Cancel { id }) => print(Ok(client.cancel(&id).await?), printer),
        None => {
            let now = hythe_host::now();
            printer.list(&client.operations().await?, &HEAD, |operation| row(operation, now))
        }
    }
}

/// The operation where JSON is wanted, failed or not; its failure in any case.
pub(super) fn print(outcome: Outcome<Operation>, printer: Printer<'_>) -> Outcome {
    let operation = match &outcome {
        Ok(operation) => Some(operation),
        Err(Failure::Operation(operation)) => Some(&**operation),
        Err(_) => None,
    };
    if let Some(operation) = operation.filter(|_| printer.settings.json) {
        printer.json(operation)?;
    }
    outcome.map(drop)
}

fn row(operation: &Operation, now: Timestamp) -> Vec<Cell> {
    vec![
        Cell::new(&operation.id),
        Cell::new(format::of(&operation.kind)),
        Cell::new(&operation.subject),
        state(operation.state),
        Cell::new(format_args!("{} ago", format::age(operation.started, now))),
        Cell::new(format::age(operation.started, operation.finished.unwrap_or(now))),
    ]
}

fn state(state: OperationState) -> Cell {
    let color = match state {
        OperationState::Running => Color::Yellow,
        OperationState::Succeeded => Color::Green,
        OperationState::Failed => Color::Red,
        OperationState::Cancelled => Color::DarkGrey,
    };
    Cell::new(format::of(&state)).fg(color)
}
