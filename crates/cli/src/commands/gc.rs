//! `hythe gc`: shows and removes orphaned objects.

use comfy_table::Color;
use hythe_api::{Collected, Garbage, Gc, GcQuery, NotCollected};
use hythe_client::ClientError;
use hythe_spec::Millis;

use super::connect;
use crate::args;
use crate::format;
use crate::output::{Cell, Printer};
use crate::report::{Failure, Outcome};

const HEAD: [&str; 8] = ["KIND", "NAME", "RUNTIME", "SERVICE", "ORPHANED", "SCANS", "STATE", "REASON"];

pub(super) async fn run(args: &args::Gc, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let images_older_than = args.images_older_than.map(whole_millis);
    if args.dry_run {
        let mut found = client.garbage(&GcQuery { images_older_than }).await?;
        found.retain(|garbage| args.volumes || garbage.kind != "volume");
        let state = |garbage: &Garbage| if garbage.ripe { "eligible" } else { "waiting" };
        return printer.list(&found, &HEAD, |garbage| row(garbage, state(garbage)));
    }
    let collected = client.collect(&Gc { volumes: args.volumes, images_older_than }).await?;
    if printer.settings.json {
        printer.json(&collected)?;
    } else {
        show(&collected, printer)?;
    }
    let problems = collected.failed.into_iter().map(|failed| Failure::from(ClientError::from(failed.problem)));
    Failure::all(problems.collect())
}

pub(super) fn whole_millis(duration: Millis) -> u64 {
    u64::try_from(duration.duration().as_millis()).unwrap_or(u64::MAX)
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
        printer.talk("nothing is orphaned");
        return Ok(());
    }
    printer.table(&HEAD, rows)?;
    if !waiting.is_empty() {
        printer.talk("waiting: not yet seen orphaned often or long enough; the agent scans again");
    }
    Ok(())
}

fn row(garbage: &Garbage, state: &str) -> Vec<Cell> {
    let color = match state {
        "failed" => Color::Red,
        "waiting" => Color::Yellow,
        _ => Color::Green,
    };
    let or_nothing = |text: &Option<String>| text.clone().unwrap_or_else(|| format::NOTHING.to_owned());
    vec![
        Cell::new(&garbage.kind),
        Cell::new(&garbage.name),
        Cell::new(or_nothing(&garbage.runtime)),
        Cell::new(or_nothing(&garbage.service)),
        Cell::new(format::age(garbage.first_seen, hythe_host::now())),
        Cell::new(garbage.looks),
        Cell::new(state).fg(color),
        Cell::new(&garbage.reason),
    ]
}
