//! `hythe events`: what happened, and what happens.

use comfy_table::Cell;
use futures_util::StreamExt;
use hythe_api::Event;
use hythe_api::event::EventQuery;
use hythe_client::Client;

use super::connect;
use crate::args::Events;
use crate::output::Printer;
use crate::report::Outcome;
use crate::words;

pub(super) const HEAD: [&str; 5] = ["CURSOR", "TIME", "SUBJECT", "EVENT", "MESSAGE"];

pub(super) async fn run(args: Events, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let query = EventQuery {
        after: args.after,
        service: args.service,
        workload: args.workload,
        follow: args.follow,
        limit: args.limit,
    };
    if query.follow {
        return follow(&client, &query, printer).await;
    }
    let events = client.events(&query).await?;
    if printer.settings.json {
        return events.iter().try_for_each(|event| printer.json_line(event));
    }
    printer.table(&HEAD, events.iter().map(row).collect())
}

async fn follow(client: &Client, query: &EventQuery, printer: Printer<'_>) -> Outcome {
    let mut events = client.follow_events(query).await?;
    while let Some(event) = events.next().await {
        let event = event?;
        if printer.settings.json {
            printer.json_line(&event)?;
        } else {
            printer.data(line(&event))?;
        }
    }
    Ok(())
}

pub(super) fn row(event: &Event) -> Vec<Cell> {
    vec![
        Cell::new(event.cursor),
        Cell::new(time(event)),
        Cell::new(subject(event)),
        Cell::new(&event.kind),
        Cell::new(&event.message),
    ]
}

/// What arrives one by one cannot wait for the widths of a table.
fn line(event: &Event) -> String {
    format!("{:>6}  {}  {:20}  {:12}  {}\n", event.cursor, time(event), subject(event), event.kind, event.message)
}

/// In UTC, to the second.
fn time(event: &Event) -> String {
    event.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn subject(event: &Event) -> &str {
    let subjects = [&event.workload, &event.service, &event.runtime];
    subjects.into_iter().find_map(Option::as_deref).unwrap_or(words::NOTHING)
}
