//! The binary `hythe`: what was typed (`args`), what it means (`settings`, `target`, `service_file`), what to do (`commands`).
//!
//! Not for: anything an agent decides. Only `commands::agent` links drivers; every other command speaks to an agent.

mod args;
mod autostart;
mod commands;
mod escape;
mod format;
mod output;
mod progress;
mod report;
#[cfg(test)]
mod sample;
mod service_file;
mod settings;
mod target;
mod terminal;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Global};
use crate::escape::Allow;
use crate::report::{Failure, Outcome};
use crate::settings::Settings;

fn main() -> ExitCode {
    // Before anything else: a shim has one thread and stays small.
    if let Some(code) = commands::shim() {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err((failure, color)) => {
            let _ = std::io::stderr().write_all(failure.render(color).as_bytes());
            failure.exit_code().into()
        }
    }
}

/// What was typed may come from a script that took it from elsewhere: it is shown escaped like everything else.
fn misused(error: &clap::Error) -> ExitCode {
    let code = u8::try_from(error.exit_code()).unwrap_or(report::USAGE);
    if !error.use_stderr() {
        // Help and version are this program's own.
        let _ = error.print();
        return code.into();
    }
    let text = match std::io::stderr().is_terminal() {
        true => escape::escape(&error.render().ansi().to_string(), Allow::Styles),
        false => escape::escape(&error.render().to_string(), Allow::Lines),
    };
    let _ = std::io::stderr().write_all(text.as_bytes());
    code.into()
}

/// The failure comes with whether it may be coloured.
fn run(cli: Cli) -> Result<(), (Failure, bool)> {
    let settings = resolve(&cli.global).map_err(|failure| (failure, false))?;
    commands::run(cli.command, &settings).map_err(|failure| (failure, settings.color_stderr))
}

fn resolve(global: &Global) -> Outcome<Settings> {
    Settings::resolve(global, &settings::surroundings())
}
