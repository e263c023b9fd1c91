//! The agent of this user, started in the background when a command needs it and nobody answers.
//!
//! Only on the default socket: where `--host` names an agent, that agent or none is meant.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hythe_client::{Client, Endpoint};

use crate::output::Printer;
use crate::report::{CONFLICT, Outcome};
use crate::settings::Settings;

const PATIENCE: Duration = Duration::from_secs(10);
/// Time that another agent may take which has the state directory already.
const PATIENCE_WITH_ANOTHER: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
const LOG: &str = "agent.log";
const LOCK: &str = "agent.start.lock";
const SHOWN_OF_THE_LOG: u64 = 2000;

/// Why no agent could be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartFailure {
    #[error("no agent answers, and none can be started: `{path}` cannot be used")]
    State { path: PathBuf, source: io::Error },
    #[error("no agent answers, and none can be started")]
    Spawn(#[source] io::Error),
    #[error("the agent that was started ended at once ({status}):\n{log}")]
    Ended { status: ExitStatus, log: String, path: PathBuf },
    #[error("another agent has the state directory `{directory}`, and none answers on the socket after {} s", PATIENCE_WITH_ANOTHER.as_secs())]
    Held { directory: PathBuf },
    #[error("the agent that was started does not answer after {} s", PATIENCE.as_secs())]
    Silent { path: PathBuf },
}

impl StartFailure {
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::State { .. } | Self::Spawn(_) => "`--host` names an agent that runs elsewhere".to_owned(),
            Self::Held { .. } => {
                "it may listen elsewhere: `--host` names its socket; one that is stopped or hangs must be ended"
                    .to_owned()
            }
            Self::Ended { path, .. } | Self::Silent { path } => {
                format!("its log is `{}`; `hythe agent` runs it in the foreground", path.display())
            }
        }
    }
}

/// A client of an agent; on the default socket one that answers.
pub(crate) async fn client(printer: Printer<'_>) -> Outcome<Client> {
    let settings = printer.settings;
    if settings.may_start_agent && nobody_answers(&settings.endpoint) {
        start(printer).await?;
    }
    settings.client()
}

/// Nobody at all: a socket that refuses for another reason has an owner.
fn nobody_answers(endpoint: &Endpoint) -> bool {
    let Endpoint::Unix(path) = endpoint else {
        return false;
    };
    let error = UnixStream::connect(path).err().map(|error| error.kind());
    matches!(error, Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
}

async fn start(printer: Printer<'_>) -> Result<(), StartFailure> {
    let settings = printer.settings;
    let deadline = Instant::now() + PATIENCE;
    let directory = &settings.state_dir;
    let unusable = |source| StartFailure::State { path: directory.clone(), source };
    create_private(directory).map_err(unusable)?;
    let _lock = lock(&directory.join(LOCK), deadline).await.map_err(unusable)?;
    // Whoever held the lock before has started one.
    if nobody_answers(&settings.endpoint) {
        launch(printer, deadline).await?;
    }
    Ok(())
}

fn create_private(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

async fn launch(printer: Printer<'_>, deadline: Instant) -> Result<(), StartFailure> {
    let settings = printer.settings;
    let path = settings.state_dir.join(LOG);
    let (mut log, end) = open_log(&path).map_err(|source| StartFailure::State { path: path.clone(), source })?;
    let mut child = spawn(&log, settings).map_err(StartFailure::Spawn)?;
    match wait(settings, &mut child, deadline).await {
        Ok(()) => {}
        Err(Some(status)) if status.code() == Some(CONFLICT.into()) => return answered(settings).await,
        Err(Some(status)) => {
            let log = said(&mut log, end);
            return Err(StartFailure::Ended { status, log, path });
        }
        Err(None) => return Err(StartFailure::Silent { path }),
    }
    printer.talk(format_args!("started an agent in the background (pid {}, log `{}`)", child.id(), path.display()));
    Ok(())
}

/// Another agent was there first, and is starting as well: a service manager's, most likely. It answers in a moment.
async fn answered(settings: &Settings) -> Result<(), StartFailure> {
    let deadline = Instant::now() + PATIENCE_WITH_ANOTHER;
    let client = Client::new(settings.endpoint.clone());
    while client.healthz().await.is_err() {
        if Instant::now() >= deadline {
            return Err(StartFailure::Held { directory: settings.state_dir.clone() });
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// Of two commands one starts the agent and the other waits for it.
async fn lock(path: &Path, deadline: Instant) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) if Instant::now() < deadline => tokio::time::sleep(POLL).await,
            Err(std::fs::TryLockError::WouldBlock) => return Err(io::ErrorKind::TimedOut.into()),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// The log and how long it is already.
fn open_log(path: &Path) -> io::Result<(File, u64)> {
    let mut log = File::options().create(true).append(true).read(true).mode(0o600).open(path)?;
    let end = log.seek(SeekFrom::End(0))?;
    Ok((log, end))
}

fn spawn(log: &File, settings: &Settings) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["agent", "--background-child"]);
    if let Endpoint::Unix(path) = &settings.endpoint {
        command.arg("--socket").arg(path);
    }
    command.env_remove("HYTHE_HOST").current_dir("/");
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?).spawn()
}

/// Until it answers; the error is how it ended, or `None` where it is only silent.
async fn wait(settings: &Settings, child: &mut Child, deadline: Instant) -> Result<(), Option<ExitStatus>> {
    let client = Client::new(settings.endpoint.clone());
    while Instant::now() < deadline {
        if client.healthz().await.is_ok() {
            return Ok(());
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(Some(status));
        }
        tokio::time::sleep(POLL).await;
    }
    Err(None)
}

/// What was written to the log since it was that long.
fn said(log: &mut File, since: u64) -> String {
    let end = log.seek(SeekFrom::End(0)).unwrap_or(since);
    let mut bytes = Vec::new();
    let from = since.max(end.saturating_sub(SHOWN_OF_THE_LOG));
    if log.seek(SeekFrom::Start(from)).is_ok() {
        // What can be read is shown; what cannot is in the file that the hint names.
        let _ = log.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}
