//! Where the demonstration takes place: an agent of this process and a private directory, of which nothing is left.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::select_all;
use hythe_client::Endpoint;
use tempfile::TempDir;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::{IN_PROCESS_FILE, tour};
use crate::args::{Agent, LogFormat};
use crate::commands::agent;
use crate::output::Printer;
use crate::report::{Failure, Outcome};
use crate::settings::Settings;

/// The in-process runtime alone: without a list, an agent looks for engines.
const CONFIG: &str = "[[runtimes]]\nkind = \"memory\"\n";
const SOCKET: &str = "agent.sock";
const SERVICE: &str = "demo.toml";
/// Bytes of a socket's path that every system takes.
const LONGEST_SOCKET_PATH: usize = 100;
/// Where temporary files are when the usual directory's path is too long for a socket.
const SHORT_DIRECTORY: &str = "/tmp";
/// Time that what is still under way has to end before its files go.
const PATIENCE: Duration = Duration::from_secs(1);

/// Signals are listened to before there is anything to remove, and files go after the last task that may write them.
///
/// On one thread a signal reaches everybody who listens before anybody goes on, so that [`play`] ends the tour before a command of
/// the tour can say that the agent goes on.
pub(super) fn run(settings: &Settings) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = {
        let _inside = runtime.enter();
        Signals::listen()?
    };
    let directory = private_directory()?;
    let outcome = runtime.block_on(play(directory.path(), settings, signals));
    runtime.shutdown_timeout(PATIENCE);
    let path = directory.path().to_owned();
    let removed = directory.close().map_err(|error| unusable(&path, &error));
    outcome.and(removed)
}

/// The agent runs until the tour has ended; where it cannot, its reason ends the tour.
async fn play(directory: &Path, settings: &Settings, signals: Signals) -> Outcome {
    let settings = &on_stage(directory, settings);
    let file = write(directory, SERVICE, IN_PROCESS_FILE)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let agent = agent::run_until(agent_below(directory)?, async {
        let _ = stopped.await;
    });
    let tour = async {
        let outcome = tokio::select! {
            biased;
            () = signals.any() => Err(Failure::Interrupted),
            outcome = tour::run(&file, Printer { settings }) => outcome,
        };
        drop(stop);
        Ok(outcome)
    };
    let ((), outcome) = tokio::try_join!(agent, tour)?;
    outcome
}

/// The same, for the agent there.
fn on_stage(directory: &Path, settings: &Settings) -> Settings {
    Settings {
        endpoint: Endpoint::Unix(directory.join(SOCKET)),
        may_start_agent: false,
        state_dir: directory.to_owned(),
        ..settings.clone()
    }
}

fn agent_below(directory: &Path) -> Outcome<Agent> {
    Ok(Agent {
        config: Some(write(directory, "agent.toml", CONFIG)?),
        socket: Some(directory.join(SOCKET)),
        state_dir: Some(directory.join("state")),
        log_format: LogFormat::Text,
        background_child: false,
        #[cfg(debug_assertions)]
        crash_points: false,
    })
}

fn write(directory: &Path, name: &str, text: &str) -> Outcome<PathBuf> {
    let path = directory.join(name);
    std::fs::write(&path, text).map_err(|error| unusable(&path, &error))?;
    Ok(path)
}

/// For this user alone (0700).
fn private_directory() -> Outcome<TempDir> {
    let usual = std::env::temp_dir();
    let mut builder = tempfile::Builder::new();
    builder.prefix("hythe-demo-");
    let parent = if fits_a_socket(usual.as_os_str()) { usual } else { PathBuf::from(SHORT_DIRECTORY) };
    builder.tempdir_in(&parent).map_err(|error| unusable(&parent, &error))
}

fn fits_a_socket(parent: &OsStr) -> bool {
    parent.as_bytes().len() + "/hythe-demo-xxxxxx/".len() + SOCKET.len() <= LONGEST_SOCKET_PATH
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::Usage {
        message: format!("`{}` cannot be used: {}", path.display(), error.kind()),
        hint: "the environment variable `TMPDIR` names the directory for temporary files".to_owned(),
    }
}

/// What asks a process to end.
#[derive(Debug)]
struct Signals(Vec<Signal>);

impl Signals {
    fn listen() -> io::Result<Self> {
        let kinds = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()];
        kinds.into_iter().map(signal).collect::<io::Result<_>>().map(Self)
    }

    async fn any(mut self) {
        select_all(self.0.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_directory_is_not_for_sockets() {
        assert!(fits_a_socket(OsStr::new("/tmp")));
        assert!(!fits_a_socket(OsStr::new(&"/x".repeat(40))));
    }
}
