//! `hythe help-markdown`: the whole command reference as Markdown, from the same definition that parses.

use std::fmt::{self, Write};

use clap::{Arg, ArgAction, Command, CommandFactory};

use crate::args::Cli;
use crate::output::Printer;
use crate::report::Outcome;

pub(super) fn run(printer: Printer<'_>) -> Outcome {
    printer.data(reference())
}

fn reference() -> String {
    let mut root = Cli::command().term_width(100);
    root.build();
    let mut text = String::from("# The `hythe` command\n");
    // Writing to a string cannot fail.
    let _ = command(&root, "hythe", 2, &mut text);
    text
}

fn command(this: &Command, path: &str, level: usize, out: &mut String) -> fmt::Result {
    if level > 2 || path != "hythe" {
        write!(out, "\n{} `{path}`\n", "#".repeat(level))?;
    }
    for about in [this.get_long_about().or(this.get_about())].into_iter().flatten() {
        write!(out, "\n{about}\n")?;
    }
    let usage = this.clone().render_usage().to_string();
    write!(out, "\n```text\n{}\n```\n", usage.trim_start_matches("Usage: "))?;
    arguments(this, path == "hythe", out)?;
    if let Some(after) = this.get_after_help() {
        let after = after.to_string();
        let (title, body) = after.split_once('\n').unwrap_or(("", &after));
        write!(out, "\n{title}\n\n```text\n{body}\n```\n")?;
    }
    for sub in this.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        command(sub, &format!("{path} {}", sub.get_name()), level + usize::from(path != "hythe"), out)?;
    }
    Ok(())
}

/// Global options are printed once, at the root.
fn arguments(this: &Command, is_root: bool, out: &mut String) -> fmt::Result {
    let shown = |arg: &&Arg| {
        !arg.is_hide_set() && (is_root || !arg.is_global_set()) && !matches!(arg.get_id().as_str(), "help" | "version")
    };
    let mut arguments = this.get_arguments().filter(shown).peekable();
    if arguments.peek().is_none() {
        return Ok(());
    }
    out.push_str("\n| argument | meaning |\n|---|---|\n");
    for arg in arguments {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        writeln!(out, "| `{}` | {} |", escaped(&spelled(arg)), escaped(&help))?;
    }
    Ok(())
}

fn spelled(arg: &Arg) -> String {
    let names = [arg.get_short().map(|short| format!("-{short}")), arg.get_long().map(|long| format!("--{long}"))];
    let names: Vec<_> = names.into_iter().flatten().collect();
    let values = arg.get_value_names().unwrap_or_default();
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let value: String = values.iter().filter(|_| takes_value).map(|name| format!(" <{name}>")).collect();
    format!("{}{value}", names.join(", ")).trim_start().to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_visible_command_is_in_the_reference() {
        let text = reference();
        for command in Cli::command().get_subcommands() {
            let heading = format!("## `hythe {}`\n", command.get_name());
            assert_eq!(text.contains(&heading), !command.is_hide_set(), "{heading}");
        }
        assert!(text.contains("### `hythe operations join`"), "{text}");
    }

    #[test]
    fn tables_survive_a_bar_in_a_name() {
        assert!(reference().contains("| `<FILE\\|DIR\\|NAME>` |"));
    }
}
