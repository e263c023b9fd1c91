//! Podman's API service of the agent's own: a `podman system service` on a socket that only this user reaches, or an `ssh` that
//! forwards such a socket to another host's.
//!
//! Podman is started with the program, environment and settings that every call of the program has. The process begins again when
//! it ends, and goes with the agent, also where that is killed. Containers are conmon's: they outlive both.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::program::{Invocation, Program};
use crate::tunnel::Tunnel;
use crate::{error, pidfd, private};

const PREFIX: &str = "hythe-libpod-";
/// Of a directory that nobody holds yet.
const NEW_PREFIX: &str = "hythe-new-libpod-";
const SOCKET: &str = "api.sock";
const LOG: &str = "log";
/// A log that is larger begins anew.
const LOG_SIZE: u64 = 256 << 10;
/// A service that lived that long did not fail at its start.
const STABLE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long one whose agent is gone may take to end.
const GRACE: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(20);
/// What ssh says of a connection that the other host cannot pass on; it goes on.
const NO_SOCKET: &str = "open failed";
/// How much podman's heap grows before Go collects, in percent: beside 100 workloads it takes 12 MiB less, and no longer.
const GARBAGE_COLLECTION: &str = "GOGC";

/// What serves.
#[derive(Debug, Clone)]
pub(crate) enum Server {
    /// A podman of this host.
    Podman(Program),
    /// What forwards to another host's.
    Tunnel(Tunnel),
}

/// The service, for as long as somebody holds this.
#[derive(Debug)]
pub(crate) struct Service {
    directory: PathBuf,
    is_tunnel: bool,
    /// Locked: whoever can lock it finds nobody's service.
    _held: OwnedFd,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The process that serves now.
    serving: Option<OwnedFd>,
    stopping: bool,
    /// How the last one ended.
    ended: Option<String>,
}

impl Server {
    /// For messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Podman(program) => format!("the service of `{}`", program.path()),
            Self::Tunnel(tunnel) => format!("`ssh {}`", tunnel.destination()),
        }
    }

    fn command(&self, socket: &Path) -> Command {
        match self {
            Self::Podman(program) => {
                let address = format!("unix://{}", socket.display());
                let words = Invocation::from(["system", "service", "--time=0", &address]);
                let mut command = program.blocking_command(&words);
                if !program.is_set(GARBAGE_COLLECTION) {
                    command.env(GARBAGE_COLLECTION, "25");
                }
                command
            }
            Self::Tunnel(tunnel) => tunnel.command(socket),
        }
    }
}

impl Service {
    /// Ends what killed agents left, and starts a service; it answers a moment later.
    ///
    /// # Errors
    /// Of the directory for its socket, and of a thread that cannot be made.
    pub(crate) fn start(server: Server) -> io::Result<Self> {
        let parent = private::directory();
        sweep(&parent);
        let (directory, held) = own_directory(&parent)?;
        let shared = Arc::<Shared>::default();
        let is_tunnel = matches!(server, Server::Tunnel(_));
        let service = Self { directory, is_tunnel, _held: held, shared: Arc::clone(&shared) };
        let directory = service.directory.clone();
        // The kernel ends the service with the thread that started it: this one ends after it.
        let supervise = move || shared.supervise(&server, &directory);
        thread::Builder::new().name("podman-service".to_owned()).spawn(supervise)?;
        Ok(service)
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join(SOCKET)
    }

    /// Why it does not serve now: how it ended, or what ssh said where the other host has no such socket.
    pub(crate) fn failure(&self) -> Option<String> {
        let state = self.shared.lock();
        match (&state.serving, self.is_tunnel) {
            (None, _) => state.ended.clone(),
            (Some(_), true) => self.last_log_lines().filter(|words| words.contains(NO_SOCKET)),
            (Some(_), false) => None,
        }
    }

    /// What it wrote last.
    pub(crate) fn last_log_lines(&self) -> Option<String> {
        last_log_lines(&self.directory.join(LOG))
    }

    /// Empties a log that has grown.
    pub(crate) fn trim_log(&self) {
        let log = File::options().append(true).open(self.directory.join(LOG));
        if let Ok(log) = log
            && log.metadata().is_ok_and(|meta| meta.len() > LOG_SIZE)
            && let Err(cause) = log.set_len(0)
        {
            tracing::debug!(%cause, "the log of podman's service cannot be emptied");
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopping = true;
        if let Some(serving) = &state.serving {
            pidfd::signal(serving, Signal::TERM);
        }
        drop(state);
        self.shared.changed.notify_all();
        remove(&self.directory);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves, and begins again until it is told to stop.
    fn supervise(&self, server: &Server, directory: &Path) {
        let mut pause = Duration::ZERO;
        while !self.lock().stopping {
            let began = Instant::now();
            let ended = self.serve(server, directory);
            let words = ended.map_or_else(
                |cause| cause.to_string(),
                |status| last_log_lines(&directory.join(LOG)).unwrap_or_else(|| status.to_string()),
            );
            let mut state = self.lock();
            state.serving = None;
            if state.stopping {
                return;
            }
            tracing::warn!(cause = words, "{} ended; it is started again", server.name());
            state.ended = Some(words);
            pause = match (began.elapsed() > STABLE, directory.join(SOCKET).exists()) {
                (true, _) => Duration::ZERO,
                // It listened, and was killed.
                (false, true) => FIRST_PAUSE,
                (false, false) => longer(pause),
            };
            // Woken by the end of everything.
            let _woken = self.changed.wait_timeout_while(state, pause, |state| !state.stopping);
        }
    }

    /// One process, from its start to its end.
    fn serve(&self, server: &Server, directory: &Path) -> io::Result<ExitStatus> {
        let socket = directory.join(SOCKET);
        match fs::remove_file(&socket) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
            _ => {}
        }
        // Each its own words: the file is emptied by name, and written to its end.
        let log = directory.join(LOG);
        let _emptied = File::create(&log)?;
        let log = File::options().append(true).open(log)?;
        let mut command = server.command(&socket);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        end_with_this_thread(&mut command);
        let mut child = command.spawn()?;
        {
            let mut state = self.lock();
            state.serving = pidfd::open(child.id());
            if let Some(serving) = state.serving.as_ref().filter(|_| state.stopping) {
                pidfd::signal(serving, Signal::TERM);
            }
        }
        child.wait()
    }
}

fn longer(pause: Duration) -> Duration {
    if pause.is_zero() { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) }
}

/// An agent that is killed can stop nothing. SIGTERM lets podman end what it is in the middle of.
#[expect(unsafe_code, reason = "the standard library has no safe way to prepare a child between fork and exec")]
fn end_with_this_thread(command: &mut Command) {
    let parent = rustix::process::getpid();
    let bind = move || {
        set_parent_process_death_signal(Some(Signal::TERM))?;
        // It may have ended before.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: the closure makes two system calls (prctl, getppid), which are async-signal-safe, and allocates nothing.
    unsafe { command.pre_exec(bind) };
}

/// A directory of mode 0700 that is ours for as long as the descriptor is open.
fn own_directory(parent: &Path) -> io::Result<(PathBuf, OwnedFd)> {
    let private = fs::Permissions::from_mode(0o700);
    let made = tempfile::Builder::new().prefix(NEW_PREFIX).permissions(private).tempdir_in(parent)?;
    let held = OwnedFd::from(File::open(made.path())?);
    rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive)?;
    let name = made.path().file_name().unwrap_or_default().to_string_lossy().replacen(NEW_PREFIX, PREFIX, 1);
    let directory = parent.join(name);
    // Nobody finds it by this name before it is locked.
    fs::rename(made.keep(), &directory)?;
    Ok((directory, held))
}

/// Ends services whose agent is gone, and removes their directories.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let Ok(directory) = File::open(entry.path()) else { continue };
        if rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
            end_service(&entry.path().join(SOCKET));
            remove(&entry.path());
        }
    }
}

/// Ends whoever listens there.
fn end_service(socket: &Path) {
    let Some(process) = listener(socket).and_then(|pid| pidfd::open(pid.as_raw_nonzero().get().unsigned_abs())) else {
        return;
    };
    pidfd::signal(&process, Signal::TERM);
    let end = Instant::now() + GRACE;
    while listener(socket).is_some() {
        if Instant::now() > end {
            pidfd::signal(&process, Signal::KILL);
            return;
        }
        thread::sleep(LOOK);
    }
}

fn listener(socket: &Path) -> Option<Pid> {
    let connection = UnixStream::connect(socket).ok()?;
    rustix::net::sockopt::socket_peercred(&connection).ok().map(|peer| peer.pid)
}

fn remove(directory: &Path) {
    match fs::remove_dir_all(directory) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %directory.display(), %cause, "the directory of podman's service cannot be removed");
        }
        _ => {}
    }
}

fn last_log_lines(log: &Path) -> Option<String> {
    let text = fs::read(log).ok()?;
    let text = String::from_utf8_lossy(&text);
    (!text.trim().is_empty()).then(|| error::words(&text))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops where it fails")]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn sweep_removes_what_nobody_holds() {
        let parent = tempfile::tempdir().unwrap();
        let (kept, held) = own_directory(parent.path()).unwrap();
        let (left, released) = own_directory(parent.path()).unwrap();
        assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o7777, 0o700);
        drop(released);
        // Bound and closed: nobody listens.
        drop(UnixListener::bind(left.join(SOCKET)).unwrap());
        sweep(parent.path());
        assert_eq!((kept.exists(), left.exists()), (true, false));
        drop(held);
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        let pauses: Vec<Duration> =
            std::iter::successors(Some(Duration::ZERO), |pause| Some(longer(*pause))).take(12).collect();
        assert_eq!(pauses[..3], [0, 100, 200].map(Duration::from_millis));
        assert_eq!(pauses[11], LONGEST_PAUSE);
    }
}
