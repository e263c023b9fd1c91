//! The daemon, in a build that has it.

use hythe_agent::StartError;
use tracing_subscriber::EnvFilter;

use crate::args::{Agent, LogFormat};
use crate::output::Printer;
use crate::report::{AgentFailure, CONFLICT, Failure, Outcome, UNAVAILABLE, USAGE};

/// Filter of the log, in the syntax of `tracing_subscriber::EnvFilter`.
const FILTER: &str = "HYTHE_LOG";
const DEFAULT_FILTER: &str = "info";

pub(in crate::commands) fn run(args: Agent, printer: Printer<'_>) -> Outcome {
    if args.crash_points {
        return printer.data(hythe_agent::crash_points().join("\n") + "\n");
    }
    if args.background_child {
        // Fails only for a process that leads a group already, which has left its terminal as well.
        let _ = rustix::process::setsid();
    }
    log(args.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(hythe_agent::run(options(args)));
    // What is still under way is on record; a thread that waits for an engine must not hold up the end.
    runtime.shutdown_background();
    outcome.map_err(failure)
}

/// An agent in this process that keeps no log and leaves signals to others.
pub(in crate::commands) async fn run_until(args: Agent, shutdown: impl Future<Output = ()>) -> Outcome {
    hythe_agent::run_until(options(args), shutdown).await.map_err(failure)
}

/// The log goes to stderr: systemd and the background start keep it from there.
fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let to_stderr = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => to_stderr.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => to_stderr.json().init(),
    }
}

fn options(args: Agent) -> hythe_agent::Options {
    hythe_agent::Options { config: args.config, socket: args.socket, state_dir: args.state_dir }
}

fn failure(error: StartError) -> Failure {
    let code = match &error {
        StartError::TestAid(_)
        | StartError::Config { .. }
        | StartError::Settings { .. }
        | StartError::OpenListener { .. }
        | StartError::Group { .. } => USAGE,
        StartError::Taken { .. } => CONFLICT,
        StartError::Io { .. } | StartError::Owner { .. } | StartError::Store(_) | StartError::Controller(_) => {
            UNAVAILABLE
        }
    };
    Failure::Agent(AgentFailure { code, error: Box::new(error) })
}

/// This process as the supervisor of a container, where it was started as one: before anything else, since such a process has one thread and stays small.
pub(crate) fn shim() -> Option<std::process::ExitCode> {
    let code = hythe_agent::shim(std::env::args_os().skip(1))?;
    Some(u8::try_from(code).unwrap_or(1).into())
}
