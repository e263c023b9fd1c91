//! `hythe gc`: what is left behind, and removing it.

use comfy_table::{Cell, Color};
use hythe_api::{Collected, Garbage, Gc, NotCollected};
use hythe_client::ClientError;
use jiff::Timestamp;

use super::connect;
use crate::args;
use crate::output::Printer;
use crate::report::{Failure, Outcome};
use crate::words;

const HEAD: [&str; 8] = ["KIND", "NAME", "RUNTIME", "SERVICE", "UNWANTED", "LOOKS", "STATE", "REASON"];

pub(super) async fn run(args: &args::Gc, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    if args.dry_run {
        let mut found = client.garbage().await?;
        found.retain(|garbage| args.volumes || garbage.kind != "volume");
        let state = |garbage: &Garbage| if garbage.ripe { "ripe" } else { "waiting" };
        return printer.list(&found, &HEAD, |garbage| row(garbage, state(garbage)));
    }
    let collected = client.collect(&Gc { volumes: args.volumes }).await?;
    if printer.settings.json {
        printer.json(&collected)?;
    } else {
        show(&collected, printer)?;
    }
    let problems = collected.failed.into_iter().map(|failed| Failure::from(ClientError::from(failed.problem)));
    Failure::all(problems.collect())
}

fn show(collected: &Collected, printer: Printer<'_>) -> Outcome {
    let Collected { removed, failed, waiting } = collected;
    let failed = failed.iter().map(|NotCollected { garbage, .. }| row(garbage, "failed"));
    let rows: Vec<Vec<Cell>> = removed
        .iter()
        .map(|garbage| row(garbage, "removed"))
        .chain(failed)
        .chain(waiting.iter().map(|garbage| row(garbage, "waiting")))
        .collect();
    if rows.is_empty() {
        printer.talk("nothing is left behind");
        return Ok(());
    }
    printer.table(&HEAD, rows)?;
    if !waiting.is_empty() {
        printer.talk("what waits was not seen unwanted often or long enough yet; the agent looks again by itself");
    }
    Ok(())
}

fn row(garbage: &Garbage, state: &str) -> Vec<Cell> {
    let color = match state {
        "failed" => Color::Red,
        "waiting" => Color::Yellow,
        _ => Color::Green,
    };
    let or_nothing = |text: &Option<String>| text.clone().unwrap_or_else(|| words::NOTHING.to_owned());
    vec![
        Cell::new(&garbage.kind),
        Cell::new(&garbage.name),
        Cell::new(or_nothing(&garbage.runtime)),
        Cell::new(or_nothing(&garbage.service)),
        Cell::new(words::age(garbage.first_seen, Timestamp::now())),
        Cell::new(garbage.looks),
        Cell::new(state).fg(color),
        Cell::new(&garbage.reason),
    ]
}
