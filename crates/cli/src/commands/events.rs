//! `hythe events`: what happened, and what happens.

use futures_util::StreamExt;
use hythe_api::Event;
use hythe_api::event::EventQuery;
use hythe_client::Client;

use super::connect;
use crate::args::Events;
use crate::escape::{Allow, escape};
use crate::format;
use crate::output::{Cell, Printer};
use crate::report::Outcome;
use crate::target::{self, Scope};

pub(super) const HEAD: [&str; 5] = ["CURSOR", "TIME", "SUBJECT", "EVENT", "MESSAGE"];

pub(super) async fn run(args: Events, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let query = EventQuery {
        after: args.after,
        service: args.service,
        workload: args.workload,
        follow: args.follow,
        // Of those that are meant, which are chosen here.
        limit: args.limit.filter(|_| args.targets.is_empty()),
    };
    if query.follow {
        return follow(&client, &query, &args.targets, printer).await;
    }
    let mut events = client.events(&query).await?;
    events.retain(|event| is_meant(event, &args.targets));
    let limit = args.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    events.drain(..events.len().saturating_sub(limit));
    if printer.settings.json {
        return events.iter().try_for_each(|event| printer.json_line(event));
    }
    printer.table(&HEAD, events.iter().map(row).collect())
}

async fn follow(client: &Client, query: &EventQuery, targets: &[String], printer: Printer<'_>) -> Outcome {
    let mut events = client.follow_events(query).await?;
    while let Some(event) = events.next().await {
        let event = event?;
        if !is_meant(&event, targets) {
            continue;
        }
        if printer.settings.json {
            printer.json_line(&event)?;
        } else {
            printer.data(line(&event))?;
        }
    }
    Ok(())
}

/// By name, not by what there is: events outlive their subjects.
fn is_meant(event: &Event, targets: &[String]) -> bool {
    let names = |text: &String| match target::written_out(text) {
        Some(Scope { service, component: Some(component) }) => {
            event.workload.as_ref() == Some(&hythe_spec::service::workload_name(&service, &component))
        }
        _ => event.service.as_ref() == Some(text) || event.workload.as_ref() == Some(text),
    };
    targets.is_empty() || targets.iter().any(names)
}

pub(super) fn row(event: &Event) -> Vec<Cell> {
    vec![
        Cell::new(event.cursor),
        Cell::new(time(event)),
        Cell::new(subject(event)),
        Cell::new(event.kind.as_str()),
        Cell::new(format::first_line(&event.message)),
    ]
}

/// What arrives one by one cannot wait for the widths of a table.
fn line(event: &Event) -> String {
    let message = format::first_line(&event.message);
    let line = format!("{:>6}  {}  {:20}  {:12}  {message}", event.cursor, time(event), subject(event), event.kind);
    escape(&line, Allow::Nothing) + "\n"
}

/// In UTC, to the second.
fn time(event: &Event) -> String {
    event.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn subject(event: &Event) -> &str {
    let subjects = [&event.workload, &event.service, &event.runtime];
    subjects.into_iter().find_map(Option::as_deref).unwrap_or(format::NOTHING)
}

#[cfg(test)]
mod tests {
    use hythe_api::EventKind;

    use super::*;

    #[test]
    fn events_are_chosen_by_service_component_or_workload() {
        let event = Event {
            cursor: 1,
            time: jiff::Timestamp::UNIX_EPOCH,
            kind: EventKind::Exited.into(),
            service: Some("shop".into()),
            workload: Some("shop-web".into()),
            runtime: None,
            message: String::new(),
            details: serde_json::Value::Null,
        };
        for (target, meant) in
            [("shop", true), ("shop/web", true), ("shop-web", true), ("shop/db", false), ("web", false)]
        {
            assert_eq!(is_meant(&event, &[target.to_owned()]), meant, "{target}");
        }
        assert!(is_meant(&event, &[]));
    }
}
