//! The daemon, in a build that has it.

use std::io::{self, Write};

use hythe_agent::StartError;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::args::{Agent, LogFormat};
use crate::escape::{Allow, escape};
use crate::output::Printer;
use crate::report::{AgentFailure, CONFLICT, Failure, Outcome, UNAVAILABLE, USAGE};

/// Filter of the log, in the syntax of `tracing_subscriber::EnvFilter`.
const FILTER: &str = "HYTHE_LOG";
const DEFAULT_FILTER: &str = "info";
/// Libraries that log whole requests and answers below `info`, with the values of variables and credentials: no filter lets that through.
const TELLS_SECRETS: [&str; 2] = ["bollard", "tungstenite"];

#[cfg(debug_assertions)]
fn crash_points(args: &Agent) -> Option<String> {
    args.crash_points.then(|| hythe_agent::crash_points().join("\n") + "\n")
}

/// There are none in a release build.
#[cfg(not(debug_assertions))]
const fn crash_points(_: &Agent) -> Option<String> {
    None
}

pub(in crate::commands) fn run(args: Agent, printer: Printer<'_>) -> Outcome {
    if let Some(points) = crash_points(&args) {
        return printer.data(points);
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
    let color = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let discreet = filter_fn(|about| {
        *about.level() <= LevelFilter::INFO || !TELLS_SECRETS.iter().any(|name| about.target().starts_with(name))
    });
    let to_stderr = tracing_subscriber::fmt().with_env_filter(filter);
    match format {
        LogFormat::Text => {
            let writer = move || OneLine(std::io::stderr(), color);
            to_stderr.with_ansi(color).with_writer(writer).finish().with(discreet).init();
        }
        LogFormat::Json => {
            to_stderr.json().with_writer(|| OneLine(std::io::stderr(), false)).finish().with(discreet).init();
        }
    }
}

/// Writes each event on a line of its own: what a workload, an image or a registry said forges no other, and no escape sequence.
struct OneLine<W>(W, bool);

impl<W: Write> Write for OneLine<W> {
    /// The subscriber writes an event at once.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let allow = if self.1 { Allow::Styles } else { Allow::Lines };
        let line = escape(line, allow).replace('\n', "\\n");
        writeln!(self.0, "{line}")?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn options(args: Agent) -> hythe_agent::Options {
    hythe_agent::Options { config: args.config, socket: args.socket, state_dir: args.state_dir }
}

fn failure(error: StartError) -> Failure {
    let code = match &error {
        error if error.is_conflict() => CONFLICT,
        StartError::TestAid(_)
        | StartError::Config { .. }
        | StartError::Settings { .. }
        | StartError::OpenListener { .. }
        | StartError::Unreachable { .. }
        | StartError::Group { .. } => USAGE,
        StartError::Taken { .. }
        | StartError::Io { .. }
        | StartError::Owner { .. }
        | StartError::Token { .. }
        | StartError::Store(_)
        | StartError::Controller(_) => UNAVAILABLE,
    };
    Failure::Agent(AgentFailure { code, error: Box::new(error) })
}

/// The end of this process where an agent started it to supervise a container; `None`: it is a command.
pub(crate) fn shim() -> Option<std::process::ExitCode> {
    let code = hythe_agent::shim(std::env::args_os().skip(1))?;
    Some(u8::try_from(code).unwrap_or(1).into())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn event_with_line_feed_and_escape_sequence_is_one_escaped_line() {
        let mut log = Vec::new();
        OneLine(&mut log, false).write_all(b"INFO a\n2026 ERROR forged\x1b]0;x\x07\r\n").unwrap();
        assert_eq!(log, b"INFO a\\n2026 ERROR forged\\x1b]0;x\\x07\\r\n");
        log.clear();
        OneLine(&mut log, true).write_all(b"\x1b[32mINFO\x1b[0m \x1b[2J\n").unwrap();
        assert_eq!(log, b"\x1b[32mINFO\x1b[0m \\x1b[2J\n");
    }
}
