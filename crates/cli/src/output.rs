//! stdout is data, stderr is talk. What others chose is shown escaped: this is the only way out but for `logs`, `exec` and `attach`.

use std::fmt::Display;
use std::io::{self, Write};

use anstyle::AnsiColor;
use comfy_table::{Attribute, Color, ColumnConstraint, ContentArrangement, Table, presets};
use hythe_api::{HealthState, Workload, WorkloadState};
use serde::Serialize;

use crate::escape::{self, Allow, escape};
use crate::format;
use crate::report::{Outcome, labelled};
use crate::settings::Settings;

/// Columns between columns.
const GAP: u16 = 2;
/// Content wider than this may be broken into lines.
const WIDE: u16 = 14;

/// A cell of a table; what stands in it is a part of a line.
#[derive(Debug, Clone)]
pub(crate) struct Cell(comfy_table::Cell);

impl Cell {
    pub(crate) fn new(content: impl Display) -> Self {
        Self(comfy_table::Cell::new(escape(&content.to_string(), Allow::Nothing)))
    }

    /// A line below the other.
    pub(crate) fn lines(lines: &[String]) -> Self {
        let lines: Vec<_> = lines.iter().map(|line| escape(line, Allow::Nothing)).collect();
        Self(comfy_table::Cell::new(lines.join("\n")))
    }

    pub(crate) fn fg(self, color: Color) -> Self {
        Self(self.0.fg(color))
    }
}

/// Writes what a command found and what it says about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer<'a> {
    pub(crate) settings: &'a Settings,
}

impl Printer<'_> {
    /// One JSON document.
    pub(crate) fn json(self, document: &impl Serialize) -> Outcome {
        let mut text = serde_json::to_string_pretty(document).map_err(io::Error::from)?;
        text.push('\n');
        self.bytes(escape::json(&text))
    }

    /// One line of JSON, at once.
    pub(crate) fn json_line(self, item: &impl Serialize) -> Outcome {
        let mut text = serde_json::to_string(item).map_err(io::Error::from)?;
        text.push('\n');
        self.bytes(escape::json(&text))
    }

    /// Text, at once.
    pub(crate) fn data(self, text: impl AsRef<str>) -> Outcome {
        self.bytes(escape(text.as_ref(), Allow::Lines))
    }

    /// Text that this program has styled, at once.
    pub(crate) fn styled(self, text: impl AsRef<str>) -> Outcome {
        self.bytes(escape(text.as_ref(), Allow::Styles))
    }

    /// Bytes that are this program's own, or escaped already.
    pub(crate) fn bytes(self, bytes: impl AsRef<[u8]>) -> Outcome {
        let mut out = io::stdout().lock();
        out.write_all(bytes.as_ref())?;
        Ok(out.flush()?)
    }

    /// A JSON document where that is asked for, else a table of it.
    pub(crate) fn list<T: Serialize>(self, items: &[T], head: &[&str], row: impl Fn(&T) -> Vec<Cell>) -> Outcome {
        if self.settings.json {
            return self.json(&items);
        }
        self.table(head, items.iter().map(row).collect())
    }

    /// A table fitted to the terminal.
    pub(crate) fn table(self, head: &[&str], rows: Vec<Vec<Cell>>) -> Outcome {
        self.bytes(render(head, rows, self.settings.width, self.settings.color_stdout))
    }

    /// A remark; whether anybody reads it does not matter.
    pub(crate) fn talk(self, remark: impl Display) {
        let _ = writeln!(io::stderr(), "{}", escape(&remark.to_string(), Allow::Lines));
    }

    /// A remark that this program has styled.
    pub(crate) fn styled_talk(self, remark: &str) {
        let _ = writeln!(io::stderr(), "{}", escape(remark, Allow::Styles));
    }

    /// A remark of this program's own on a terminal in raw mode.
    pub(crate) fn raw_mode_talk(self, remark: &'static str) {
        let _ = write!(io::stderr(), "\r\n{remark}\r\n");
    }

    /// A remark that deserves attention.
    pub(crate) fn warn(self, remark: impl Display) {
        let text = labelled("warning", AnsiColor::Yellow, &remark.to_string(), self.settings.color_stderr);
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

fn render(head: &[&str], rows: Vec<Vec<Cell>>, width: Option<u16>, color: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).force_no_tty();
    if color {
        table.enforce_styling();
    }
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table.set_header(head.iter().map(|title| Cell::new(title).0.add_attribute(Attribute::Bold)));
    table.add_rows(rows.into_iter().map(|row| row.into_iter().map(|cell| cell.0)));
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    if let Some(width) = width {
        keep_words_whole(&mut table, width);
    }
    table.trim_fmt() + "\n"
}

/// Where that fits, only the wide columns are broken into lines, never a name or a state.
fn keep_words_whole(table: &mut Table, width: u16) {
    let widths = table.column_max_content_widths();
    let is_wide = |content: u16| content > WIDE;
    let needed: u16 = widths.iter().map(|content| GAP + if is_wide(*content) { WIDE } else { *content }).sum();
    for (column, content) in table.column_iter_mut().zip(widths) {
        let first = column.index == 0;
        if first || (needed <= width && !is_wide(content)) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

/// A state in its colour.
pub(crate) fn state(workload: &Workload) -> Cell {
    let cell = Cell::new(format::state(workload));
    match workload.state {
        WorkloadState::Running => cell.fg(Color::Green),
        WorkloadState::Failed => cell.fg(Color::Red),
        WorkloadState::Stopped | WorkloadState::Completed => cell.fg(Color::DarkGrey),
        WorkloadState::Pending
        | WorkloadState::Pulling
        | WorkloadState::Starting
        | WorkloadState::Paused
        | WorkloadState::Stopping
        | WorkloadState::Restarting
        | WorkloadState::Removing
        | WorkloadState::Unknown => cell.fg(Color::Yellow),
    }
}

/// A health in its colour.
pub(crate) fn health(workload: &Workload) -> Cell {
    let cell = Cell::new(format::health(workload.health, workload.health_source));
    match workload.health {
        HealthState::None => cell,
        HealthState::Starting => cell.fg(Color::Yellow),
        HealthState::Healthy => cell.fg(Color::Green),
        HealthState::Unhealthy => cell.fg(Color::Red),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(width: Option<u16>) -> String {
        let row =
            |name: &str, ports: &str| vec![Cell::new(name), Cell::new("running").fg(Color::Green), Cell::new(ports)];
        render(
            &["NAME", "STATE", "PORTS"],
            vec![row("shop-web", "8080:80, 8443:443, 127.0.0.1:9000:9000"), row("db", "-")],
            width,
            false,
        )
    }

    #[test]
    fn without_a_terminal_every_row_is_one_line() {
        let expected = "\
NAME      STATE    PORTS
shop-web  running  8080:80, 8443:443, 127.0.0.1:9000:9000
db        running  -
";
        assert_eq!(sample(None), expected);
    }

    #[test]
    fn cell_of_hostile_text_stays_on_its_line() {
        let row = vec![Cell::new("a\x1b]0;x\x07\nforged\r"), Cell::lines(&["b\x1b".to_owned(), "c".to_owned()])];
        let text = render(&["X", "Y"], vec![row], None, false);
        let words: Vec<_> = text.split_whitespace().collect();
        assert_eq!(words, ["X", "Y", r"a\x1b]0;x\x07\nforged\r", r"b\x1b", "c"]);
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn a_table_fits_its_terminal_and_keeps_names_whole() {
        for width in [30, 40, 60, 200] {
            let text = sample(Some(width));
            assert!(text.lines().all(|line| line.chars().count() <= usize::from(width)), "{width}:\n{text}");
            assert!(text.contains("shop-web"), "{width}:\n{text}");
            assert!(width < 40 || text.contains("running"), "{width}:\n{text}");
        }
    }
}
