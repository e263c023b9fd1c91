//! `hythe demo`: what a deploy looks like, on a machine that has no engine.

#[cfg(feature = "agent")]
mod stage;
#[cfg(feature = "agent")]
mod tour;

use crate::args::Demo;
use crate::output::Printer;
use crate::report::Outcome;

const SERVICE_FILE: &str = include_str!("demo/demo.toml");

pub(super) fn run(args: &Demo, printer: Printer<'_>) -> Outcome {
    if args.file { printer.data(SERVICE_FILE) } else { show(printer) }
}

#[cfg(feature = "agent")]
fn show(printer: Printer<'_>) -> Outcome {
    stage::run(printer.settings)
}

#[cfg(not(feature = "agent"))]
fn show(_: Printer<'_>) -> Outcome {
    Err(crate::report::Failure::NoAgent)
}
