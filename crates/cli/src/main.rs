//! The binary `hythe`: what was typed (`args`), what it means (`settings`, `target`, `service_file`), what to do (`commands`).
//!
//! Not for: anything an agent decides. Only `commands::agent` links drivers; every other command speaks to an agent.

mod args;
mod autostart;
mod commands;
mod output;
mod progress;
mod report;
#[cfg(test)]
mod sample;
mod service_file;
mod settings;
mod target;
mod terminal;
mod words;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Global};
use crate::report::{Failure, Outcome};
use crate::settings::Settings;

fn main() -> ExitCode {
    if let Some(code) = commands::agent::shim() {
        return code;
    }
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err((failure, color)) => {
            let _ = std::io::stderr().write_all(failure.render(color).as_bytes());
            failure.exit_code().into()
        }
    }
}

/// The failure comes with whether it may be coloured.
fn run(cli: Cli) -> Result<(), (Failure, bool)> {
    let settings = resolve(&cli.global).map_err(|failure| (failure, false))?;
    commands::run(cli.command, &settings).map_err(|failure| (failure, settings.color_stderr))
}

fn resolve(global: &Global) -> Outcome<Settings> {
    Settings::resolve(global, &settings::surroundings())
}
