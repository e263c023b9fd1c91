//! The table of what passed where; always in the same order, without times.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// What one trial came to on one runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Cell {
    Pass,
    Fail,
    Skip(String),
}

/// Results as they come in.
#[derive(Debug, Default)]
pub(crate) struct Matrix {
    cells: Mutex<BTreeMap<(String, &'static str), Cell>>,
}

impl Matrix {
    pub(crate) fn note(&self, trial: &str, subject: &'static str, cell: Cell) {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.insert((trial.to_owned(), subject), cell);
    }

    /// Every trial with what it came to, whatever the runtime.
    pub(crate) fn cells(&self) -> Vec<(String, Cell)> {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.iter().map(|((trial, _), cell)| (trial.clone(), cell.clone())).collect()
    }

    /// Why trials were skipped, and how many for each reason.
    pub(crate) fn reasons(&self) -> BTreeMap<String, usize> {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reasons = BTreeMap::new();
        for ((_, subject), cell) in cells.iter() {
            if let Cell::Skip(reason) = cell {
                *reasons.entry(format!("{subject}: {reason}")).or_default() += 1;
            }
        }
        reasons
    }

    /// The whole table in Markdown, with trials and runtimes in the given order, each with its version, as of a day.
    pub(crate) fn markdown(&self, trials: &[String], engines: &[(&'static str, String)], day: &str) -> String {
        let subjects: Vec<&'static str> = engines.iter().map(|(name, _)| *name).collect();
        let subjects = &subjects;
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reasons: Vec<&str> = Vec::new();
        let mut rows = String::new();
        for trial in trials {
            write_row(
                &mut rows,
                trial,
                subjects.iter().map(|subject| match cells.get(&(trial.clone(), *subject)) {
                    Some(Cell::Pass) => "pass".to_owned(),
                    Some(Cell::Fail) => "**FAIL**".to_owned(),
                    Some(Cell::Skip(reason)) => format!("skip ({})", number_of(&mut reasons, reason)),
                    None => "not run".to_owned(),
                }),
            );
        }
        let mut page = heading(engines, day);
        page.push_str(&rows);
        page.push_str(&counts(&cells, subjects));
        page.push_str(&footnotes(&reasons));
        page
    }
}

fn heading(engines: &[(&'static str, String)], day: &str) -> String {
    let mut page = format!(
        "# Conformance\n\n\
        What every runtime must do, and whether each does. Written by the conformance suite (`cargo xtask test --accept`); do not edit.\n\n\
        Run of {day}.\n\n"
    );
    write_row(&mut page, "trial", engines.iter().map(|(name, _)| (*name).to_owned()));
    write_row(&mut page, "---", engines.iter().map(|_| "---".to_owned()));
    write_row(&mut page, "version", engines.iter().map(|(_, version)| version.clone()));
    page
}

fn write_row(page: &mut String, first: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    // Writing to a string cannot fail.
    let _ = writeln!(page, "| {first} | {} |", cells.join(" | "));
}

/// The number of a reason, new ones at the end.
fn number_of<'a>(reasons: &mut Vec<&'a str>, reason: &'a str) -> usize {
    let found = reasons.iter().position(|known| *known == reason);
    found.unwrap_or_else(|| {
        reasons.push(reason);
        reasons.len() - 1
    }) + 1
}

fn counts(cells: &BTreeMap<(String, &'static str), Cell>, subjects: &[&'static str]) -> String {
    let mut text = "\n".to_owned();
    for subject in subjects {
        let own: Vec<&Cell> = cells.iter().filter(|((_, other), _)| other == subject).map(|(_, cell)| cell).collect();
        let passed = own.iter().filter(|cell| ***cell == Cell::Pass).count();
        let failed = own.iter().filter(|cell| ***cell == Cell::Fail).count();
        let skipped = own.len() - passed - failed;
        let _ = writeln!(text, "- {subject}: {passed} pass, {failed} fail, {skipped} skip");
    }
    text
}

fn footnotes(reasons: &[&str]) -> String {
    if reasons.is_empty() {
        return String::new();
    }
    let lines = reasons.iter().enumerate().map(|(at, reason)| format!("{}. {reason}\n", at + 1));
    format!("\nReasons for skipping:\n\n{}", lines.collect::<String>())
}
