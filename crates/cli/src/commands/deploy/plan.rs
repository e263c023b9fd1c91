//! What a deploy would do, field by field.

use anstyle::{AnsiColor, Style};
use hythe_api::{ComponentPlan, Deploy};
use hythe_spec::diff::{Change, ChangeKind};
use serde_json::Value;

use crate::escape::{Allow, escape};
use crate::format;
use crate::output::{Cell, Printer};
use crate::report::Outcome;

pub(in crate::commands) fn show(deploy: &Deploy, printer: Printer<'_>) -> Outcome {
    printer.table(&["WORKLOAD", "ACTION", "RUNTIME", "NOT ON"], deploy.components.iter().map(row).collect())?;
    if deploy.changes.is_empty() {
        return Ok(());
    }
    let lines: String = deploy.changes.iter().map(|change| line(change, printer.settings.color_stdout)).collect();
    printer.styled(format!("\n{lines}"))
}

fn row(plan: &ComponentPlan) -> Vec<Cell> {
    let placement = plan.placement.as_ref();
    let rejected = placement.iter().flat_map(|placement| &placement.rejected);
    let rejected: Vec<_> = rejected.map(|other| format!("{}: {}", other.runtime, other.reasons.join("; "))).collect();
    vec![
        Cell::new(&plan.workload),
        Cell::new(plan.action.as_str()),
        Cell::new(placement.map_or(format::NOTHING, |placement| &placement.runtime)),
        if rejected.is_empty() { Cell::new(format::NOTHING) } else { Cell::lines(&rejected) },
    ]
}

fn line(change: &Change, color: bool) -> String {
    let (sign, hue) = match change.kind {
        ChangeKind::Added => ('+', AnsiColor::Green),
        ChangeKind::Removed => ('-', AnsiColor::Red),
        ChangeKind::Changed => ('~', AnsiColor::Yellow),
    };
    let style = if color { Style::new().fg_color(Some(hue.into())) } else { Style::new() };
    let value = |value: &Option<Value>| value.as_ref().map(Value::to_string).unwrap_or_default();
    let values = match change.kind {
        ChangeKind::Added => value(&change.new),
        ChangeKind::Removed => value(&change.old),
        ChangeKind::Changed => format!("{} -> {}", value(&change.old), value(&change.new)),
    };
    let change = escape(&format!("{sign} {}: {values}", change.path), Allow::Nothing);
    format!("{style}{change}{style:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_shows_before_and_after() {
        let change = |kind, old: Option<&str>, new: Option<&str>| Change {
            path: "components.web.image".into(),
            kind,
            old: old.map(Value::from),
            new: new.map(Value::from),
        };
        assert_eq!(
            line(&change(ChangeKind::Changed, Some("a"), Some("b")), false),
            "~ components.web.image: \"a\" -> \"b\"\n"
        );
        assert_eq!(line(&change(ChangeKind::Added, None, Some("b")), false), "+ components.web.image: \"b\"\n");
        assert_eq!(line(&change(ChangeKind::Removed, Some("a"), None), false), "- components.web.image: \"a\"\n");
    }
}
