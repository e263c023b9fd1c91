//! `hythe status`: desired against observed, and what happened last.

use comfy_table::Color;
use hythe_api::{ServiceStatus, WorkloadStatus};
use hythe_client::Client;
use serde_json::Value;

use super::{connect, events};
use crate::args::Status;
use crate::format;
use crate::output::{self, Cell, Printer};
use crate::report::Outcome;
use crate::target::{self, Scope};

/// Characters of a value in the table of differences.
const WIDEST: usize = 48;

pub(super) async fn run(args: Status, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let mut all = Vec::new();
    for target in &args.targets {
        all.push(named(&client, target).await?);
    }
    if args.targets.is_empty() {
        all = every(&client).await?;
    }
    match (args.targets.as_slice(), all.as_slice()) {
        ([_], [status]) if printer.settings.json => printer.json(status),
        _ if printer.settings.json => printer.json(&all),
        (_, statuses) => statuses.iter().try_for_each(|status| show(status, printer)),
    }
}

/// Of a service, or of that only which concerns one of its components.
async fn named(client: &Client, text: &str) -> Outcome<ServiceStatus> {
    let scope = match target::written_out(text) {
        Some(scope) => scope,
        None => match client.status(text).await {
            Ok(status) => return Ok(status),
            Err(error) if error.is_not_found() => {
                let workloads = client.workloads().await?;
                let named = workloads.into_iter().find(|workload| workload.name == text).ok_or(error)?;
                Scope { service: named.service, component: Some(named.component) }
            }
            Err(error) => return Err(error.into()),
        },
    };
    let mut status = client.status(&scope.service).await?;
    status.workloads.retain(|status| scope.component.as_ref() == Some(&status.workload.component));
    let Some(only) = status.workloads.first().map(|status| status.workload.name.clone()) else {
        return Err(target::unknown(text));
    };
    status.events.retain(|event| event.workload.as_ref() == Some(&only));
    Ok(status)
}

async fn every(client: &Client) -> Outcome<Vec<ServiceStatus>> {
    let mut all = Vec::new();
    for service in client.services().await? {
        all.push(client.status(&service.name).await?);
    }
    Ok(all)
}

fn show(status: &ServiceStatus, printer: Printer<'_>) -> Outcome {
    let head = ["NAME", "DESIRED", "STATE", "HEALTH", "RUNTIME", "MESSAGE"];
    printer.table(&head, status.workloads.iter().map(row).collect())?;
    for workload in status.workloads.iter().map(|status| &status.workload) {
        if let Some((_, details)) = workload.message.as_deref().and_then(|message| message.split_once('\n')) {
            printer.data(format!("\n{}: {details}\n", workload.name))?;
        }
    }
    for workload in status.workloads.iter().map(|status| &status.workload) {
        if let Some(image) = &workload.restored_over {
            printer.data(format!("\n{}: restored, runs {} in place of {image}\n", workload.name, workload.image))?;
        }
    }
    let differences: Vec<_> = status.workloads.iter().flat_map(difference_rows).collect();
    if !differences.is_empty() {
        printer.data("\n")?;
        printer.table(&["DIFFERENCE", "FIELD", "DESIRED", "OBSERVED", "CAUSE"], differences)?;
    }
    if !status.events.is_empty() {
        printer.data("\n")?;
        printer.table(&events::HEAD, status.events.iter().map(events::row).collect())?;
    }
    Ok(())
}

fn row(status: &WorkloadStatus) -> Vec<Cell> {
    let workload = &status.workload;
    vec![
        Cell::new(&workload.name),
        Cell::new(format::of(&workload.desired)),
        output::state(workload),
        output::health(workload),
        Cell::new(&workload.runtime),
        Cell::new(workload.message.as_deref().map_or(format::NOTHING, format::first_line)),
    ]
}

fn difference_rows(status: &WorkloadStatus) -> impl Iterator<Item = Vec<Cell>> {
    status.differences.iter().map(|difference| {
        vec![
            Cell::new(&status.workload.name),
            Cell::new(&difference.field),
            Cell::new(shown(&difference.field, &difference.desired)),
            Cell::new(shown(&difference.field, &difference.observed)),
            Cell::new(format::drift_cause(&difference.cause)).fg(Color::Yellow),
        ]
    })
}

/// A value of a field on one short line; `--json` has all of it.
fn shown(field: &str, value: &Value) -> String {
    let text = match (field, value) {
        (_, Value::Null) => format::NOTHING.to_owned(),
        ("memory" | "shm_size", Value::Number(bytes)) => format::bytes(bytes.as_u64().unwrap_or_default()),
        ("cpus", Value::Number(cores)) => hythe_spec::Millicores(cores.as_u64().unwrap_or_default()).to_string(),
        (_, Value::Array(list)) => list.iter().map(format::value).collect::<Vec<_>>().join(" "),
        (_, other) => format::value(other),
    };
    if text.chars().count() <= WIDEST {
        return text;
    }
    text.chars().take(WIDEST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::shown;

    #[test]
    fn values_are_short_and_in_their_units() {
        let pairs = [
            ("memory", json!(64 << 20), "64.0 MiB"),
            ("cpus", json!(500), "0.5"),
            ("pids", json!(50), "50"),
            ("env.A", json!(null), "-"),
            ("command", json!(["sleep", "9"]), "sleep 9"),
        ];
        for (field, value, expected) in pairs {
            assert_eq!(shown(field, &value), expected, "{field}");
        }
        assert_eq!(shown("labels.x", &json!("y".repeat(99))).chars().count(), super::WIDEST);
    }
}
