//! `hythe demo`: what a deploy looks like, for real where a runtime is there, else on the in-process one.

#[cfg(feature = "agent")]
mod real;
#[cfg(feature = "agent")]
mod sandbox;
mod server;
#[cfg(feature = "agent")]
mod tour;

use super::wait;
use crate::args::Demo;
use crate::output::Printer;
use crate::report::Outcome;

const SERVICE_FILE: &str = include_str!("demo/site.toml");
/// What is deployed on the in-process runtime.
const IN_PROCESS_FILE: &str = include_str!("demo/demo.toml");

/// What is deployed on that runtime; `None`: on one that starts real things.
fn service_file(runtime: Option<&str>) -> &'static str {
    if runtime == Some(IN_PROCESS) { IN_PROCESS_FILE } else { SERVICE_FILE }
}

pub(super) fn run(args: Demo, printer: Printer<'_>) -> Outcome {
    match args.serve {
        Some(role) => wait(server::run(role, printer)),
        None if args.file => printer.data(service_file(args.runtime.as_deref())),
        None => show(&args, printer),
    }
}

/// Name of the runtime that needs no engine and starts nothing.
const IN_PROCESS: &str = "memory";

#[cfg(feature = "agent")]
fn show(args: &Demo, printer: Printer<'_>) -> Outcome {
    let asked = args.runtime.as_deref();
    if asked == Some(IN_PROCESS) && !args.clean {
        return sandbox::run(printer.settings);
    }
    let mut chosen = None;
    wait(async {
        let client = super::connect(printer).await?;
        if args.clean {
            return real::clean(&client, printer).await;
        }
        chosen = real::choose(&client, asked).await?;
        match &chosen {
            Some(runtime) => real::run(&client, runtime, printer).await,
            None => Ok(()),
        }
    })?;
    if chosen.is_some() || args.clean {
        return Ok(());
    }
    printer.talk("No runtime for real containers answers on this host (`hythe runtimes` says why).");
    sandbox::run(printer.settings)
}

#[cfg(not(feature = "agent"))]
fn show(_: &Demo, _: Printer<'_>) -> Outcome {
    Err(crate::report::Failure::NoAgent)
}
