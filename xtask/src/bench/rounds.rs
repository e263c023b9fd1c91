//! Contenders that take turns, so that a machine's moods fall on all alike.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::report::Row;
use super::summary::Summary;
use crate::failure::{Context, Result};
use crate::run;

/// Rounds that are run and not counted.
const WARM_UP: usize = 1;

/// One of the things compared.
pub(crate) struct Contender<'a> {
    /// One for each duration that `act` returns.
    pub(crate) labels: Vec<String>,
    /// What is measured.
    pub(crate) act: Box<dyn Fn() -> Result<Vec<Duration>> + 'a>,
    /// Undoes it, not measured.
    pub(crate) tidy: Box<dyn Fn() -> Result<()> + 'a>,
}

impl<'a> Contender<'a> {
    /// One that leaves nothing behind.
    pub(crate) fn plain(label: &str, act: impl Fn() -> Result<Duration> + 'a) -> Self {
        Self { labels: vec![label.to_owned()], act: Box::new(move || Ok(vec![act()?])), tidy: Box::new(|| Ok(())) }
    }
}

/// Runs every contender once a round, another one first each time. A row for each duration, compared with the last one.
pub(crate) fn hold(contenders: &[Contender<'_>], runs: usize) -> Result<Vec<Row>> {
    let mut times = vec![Vec::with_capacity(runs); contenders.len()];
    for round in 0..runs + WARM_UP {
        for turn in 0..contenders.len() {
            let index = (round + turn) % contenders.len();
            let time = (contenders[index].act)();
            let tidied = (contenders[index].tidy)();
            let time = time?;
            tidied?;
            if round >= WARM_UP {
                times[index].push(time);
            }
        }
    }
    Ok(rows(contenders, &times))
}

fn rows(contenders: &[Contender<'_>], times: &[Vec<Vec<Duration>>]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (contender, rounds) in contenders.iter().zip(times) {
        for (column, label) in contender.labels.iter().enumerate() {
            let column: Vec<_> = rounds.iter().filter_map(|round| round.get(column)).copied().collect();
            rows.extend(Summary::of(&column).map(|summary| Row { label: label.clone(), summary, ratio: None }));
        }
    }
    if let Some((peer, others)) = rows.split_last_mut() {
        for row in others {
            row.ratio = Some(row.summary.median / peer.summary.median);
        }
    }
    rows
}

/// How long the command takes to end well.
pub(crate) fn time(mut command: Command) -> Result<Duration> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let began = Instant::now();
    run::output(&mut command)?;
    Ok(began.elapsed())
}

/// How long all take one after another.
pub(crate) fn time_all(commands: Vec<Command>) -> Result<Duration> {
    commands.into_iter().map(time).sum()
}

/// Runs it untimed; a failure names it.
pub(crate) fn quietly(mut command: Command) -> Result<()> {
    run::output(&mut command).map(drop).context(|| "between two rounds".into())
}
