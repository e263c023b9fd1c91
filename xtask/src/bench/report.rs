//! What was measured, as text for a terminal, as JSON and as Markdown.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::summary::Summary;
use crate::failure::{Context, Result};

const HEAD: [&str; 7] = ["", "median", "min", "p25", "p75", "max", "ratio"];

/// Everything of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// What the numbers depend on: names and values.
    pub(crate) facts: Vec<(&'static str, String)>,
    pub(crate) tables: Vec<Table>,
}

/// Things that were compared.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    /// What exactly was done.
    pub(crate) note: String,
    pub(crate) rows: Vec<Row>,
    /// Numbers of another kind.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) figures: Vec<(String, String)>,
    /// Drawn, an SVG.
    #[serde(skip)]
    pub(crate) plot: Option<String>,
}

/// One contender.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) label: String,
    /// Milliseconds.
    #[serde(flatten)]
    pub(crate) summary: Summary,
    /// Its median over that of the peer; absent for the peer.
    pub(crate) ratio: Option<f64>,
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let Summary { runs: _, min, p25, median, p75, max } = self.summary;
        let millis = |value: f64| format!("{value:.1}");
        let ratio = self.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
        let numbers = [median, min, p25, p75, max].map(millis);
        std::iter::once(self.label.clone()).chain(numbers).chain([ratio]).collect()
    }
}

impl Table {
    /// Head and rows as cells.
    fn grid(&self) -> Vec<Vec<String>> {
        let timed = std::iter::once(HEAD.map(str::to_owned).to_vec()).chain(self.rows.iter().map(Row::cells));
        let figures = std::iter::once(vec![String::new(), "value".to_owned()])
            .chain(self.figures.iter().map(|(name, value)| vec![name.clone(), value.clone()]));
        if self.rows.is_empty() { figures.collect() } else { timed.collect() }
    }
}

impl Report {
    pub(crate) fn json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).context(|| "printing the numbers".into())
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.facts {
            let _ = writeln!(text, "{name:<12} {value}");
        }
        for table in &self.tables {
            let _ = writeln!(text, "\n{}\n  {}", table.title, table.note);
            let grid = table.grid();
            let width =
                |column: usize| grid.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
            for row in &grid {
                let cells = row.iter().enumerate().map(|(column, cell)| match column {
                    0 => format!("  {cell:<0$}", width(0).unwrap_or_default()),
                    _ => format!("{cell:>0$}", width(column).unwrap_or_default()),
                });
                let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
            }
        }
        text
    }

    pub(crate) fn plot(&self) -> Option<&str> {
        self.tables.iter().find_map(|table| table.plot.as_deref())
    }

    /// `plot` is where the drawing lies, if there is one.
    pub(crate) fn markdown(&self, plot: &Path) -> String {
        let mut text = "# Benchmarks\n\nWritten by `cargo xtask bench --write`; milliseconds unless a line says otherwise. Contenders took turns, and a\nratio compares medians with the engine's own command line, the last row of its table.\n\n| machine | |\n|---|---|\n".to_owned();
        for (name, value) in &self.facts {
            let _ = writeln!(text, "| {name} | {value} |");
        }
        for table in &self.tables {
            let _ = writeln!(text, "\n## {}\n\n{}\n", table.title, table.note);
            for (index, row) in table.grid().iter().enumerate() {
                let _ = writeln!(text, "| {} |", row.join(" | "));
                if index == 0 {
                    let _ = writeln!(text, "|---|{}", "--:|".repeat(row.len() - 1));
                }
            }
            if let (Some(_), Some(name)) = (&table.plot, plot.file_name()) {
                let _ = writeln!(text, "\n![{}]({})", table.title, name.to_string_lossy());
            }
        }
        text
    }
}
