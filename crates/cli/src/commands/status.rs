//! `hythe status`: desired against observed, and what happened last.

use comfy_table::{Cell, Color};
use hythe_api::{ServiceStatus, WorkloadStatus};
use hythe_client::Client;
use serde_json::Value;

use super::{connect, events};
use crate::args::Status;
use crate::output::{self, Printer};
use crate::report::Outcome;
use crate::words;

/// Characters of a value in the table of differences.
const WIDEST: usize = 48;

pub(super) async fn run(args: Status, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let all = match &args.service {
        Some(service) => vec![client.status(service).await?],
        None => every(&client).await?,
    };
    match (&args.service, all.as_slice()) {
        (Some(_), [status]) if printer.settings.json => printer.json(status),
        _ if printer.settings.json => printer.json(&all),
        (_, statuses) => statuses.iter().try_for_each(|status| show(status, printer)),
    }
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
        Cell::new(words::of(&workload.desired)),
        output::state(workload),
        output::health(workload.health),
        Cell::new(&workload.runtime),
        Cell::new(workload.message.as_deref().unwrap_or(words::NOTHING)),
    ]
}

fn difference_rows(status: &WorkloadStatus) -> impl Iterator<Item = Vec<Cell>> {
    status.differences.iter().map(|difference| {
        vec![
            Cell::new(&status.workload.name),
            Cell::new(&difference.field),
            Cell::new(shown(&difference.field, &difference.desired)),
            Cell::new(shown(&difference.field, &difference.observed)),
            Cell::new(words::of(&difference.cause)).fg(Color::Yellow),
        ]
    })
}

/// A value of a field on one short line; `--json` has all of it.
fn shown(field: &str, value: &Value) -> String {
    let text = match (field, value) {
        (_, Value::Null) => words::NOTHING.to_owned(),
        ("memory" | "shm_size", Value::Number(bytes)) => words::bytes(bytes.as_u64().unwrap_or_default()),
        ("cpus", Value::Number(cores)) => hythe_spec::Millicores(cores.as_u64().unwrap_or_default()).to_string(),
        (_, Value::Array(list)) => list.iter().map(words::value).collect::<Vec<_>>().join(" "),
        (_, other) => words::value(other),
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
