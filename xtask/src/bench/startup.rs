//! How long the command line takes to do next to nothing.

use super::harness::Harness;
use super::report::Table;
use super::rounds::{Contender, hold, time};
use crate::failure::Result;

/// `hythe version` and an empty `hythe ps` beside the engines' own.
pub(crate) fn measure(harness: &Harness) -> Result<Vec<Table>> {
    let engines: Vec<_> = harness.engines.iter().collect();
    let agent = harness.agent(&engines)?;
    let agent = &agent;
    let mut contenders = vec![
        Contender::plain("hythe version", || time(agent.command(&["version"]))),
        Contender::plain("hythe ps", || time(agent.command(&["ps"]))),
    ];
    contenders.extend(
        engines.iter().map(|engine| Contender::plain(&format!("{} ps", engine.name), || time(engine.command(&["ps"])))),
    );
    let rows = hold(&contenders, harness.runs)?.into_iter().map(|row| super::report::Row { ratio: None, ..row });
    Ok(vec![Table {
        title: "Start-up".to_owned(),
        note: "The whole process, with an idle agent.".to_owned(),
        rows: rows.collect(),
        figures: Vec::new(),
        plot: None,
    }])
}
