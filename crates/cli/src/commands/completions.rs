//! `hythe completions`: a script that completes commands, options and files.

use clap::CommandFactory;

use crate::args::{Cli, Completions};
use crate::output::Printer;
use crate::report::Outcome;

pub(super) fn run(args: &Completions, printer: Printer<'_>) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hythe", &mut script);
    printer.bytes(script)
}
