//! What a shim supervises.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::output::{Stdio, received, set_size};
use super::prepare::Document;
use crate::create::{CreateProcess, StatusReader};
use crate::error::{Doing, ShimError, ShimErrorKind};
use crate::protocol::{Exec, Size};

/// What a shim supervises. Its main process, and those beside it, become children of the shim.
///
/// The event loop has what every payload needs: it reaps the processes, writes the log, answers clients and keeps the records.
pub(super) trait Payload {
    /// What the network gave, for the record.
    fn network(&self) -> &Value;

    /// Begins to start the main process.
    ///
    /// # Errors
    /// It cannot even be begun. What fails later comes from [`Starting::poll`].
    fn start(&self) -> Result<(Stdio, Starting), ShimError>;

    /// The main process was executed. Gives its cgroups, for the record.
    fn on_started(&mut self) -> Vec<PathBuf>;

    /// Begins to start a process beside the main one, with a terminal or with three descriptors.
    ///
    /// # Errors
    /// It cannot even be begun.
    fn exec(&self, client: u64, exec: Exec, stdio: Vec<OwnedFd>) -> Result<Starting, ShimError>;

    /// No process is being started any more.
    fn on_execs_started(&self);

    /// Sends a signal to the main process, which is not reaped yet.
    ///
    /// # Errors
    /// The signal cannot be sent.
    fn signal(&self, pid: i32, number: i32) -> io::Result<()>;

    /// Freezes or thaws every process; returns when it is done.
    ///
    /// # Errors
    /// It cannot be frozen here, or does not freeze in time.
    fn freeze(&self, frozen: bool) -> io::Result<()>;

    /// Whether it is frozen.
    fn is_frozen(&self) -> bool;

    /// Whether any of its processes was OOM-killed.
    fn was_oom_killed(&self) -> bool;

    /// Kills every process that is left after a failed start.
    fn kill(&self);

    /// Removes what it had of the kernel, once its processes are gone.
    ///
    /// # Errors
    /// Something is left.
    fn remove(&self) -> io::Result<()>;
}

/// A process that is being started by a process of its own.
#[derive(Debug)]
pub(super) struct Starting {
    creator: CreateProcess,
    status: StatusReader,
    console: Option<Console>,
    /// First size of its terminal.
    size: Option<Size>,
    /// What the creator reads.
    _document: Option<Document>,
}

/// What became of a start.
#[derive(Debug)]
pub(super) struct Started {
    /// Also of a process that could not be executed.
    pub(super) pid: Option<i32>,
    /// Its terminal, where it has one.
    pub(super) outcome: Result<Option<OwnedFd>, ShimError>,
}

impl Starting {
    pub(super) fn new(
        creator: CreateProcess,
        console: Option<Console>,
        size: Option<Size>,
        document: Option<Document>,
    ) -> Self {
        Self { creator, status: StatusReader::default(), console, size, _document: document }
    }

    /// Readable when there is something to [`Starting::poll`].
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.creator.status.as_fd()
    }

    /// Hears from the creator; `None`: it is still at work.
    pub(super) fn poll(&mut self) -> Option<Started> {
        if !self.status.read(&self.creator.status) {
            return None;
        }
        let pid = self.status.pid;
        let outcome = match (self.status.error(), pid) {
            (Some(error), _) => Err(error),
            (None, None) => Err(ShimError::new(ShimErrorKind::Internal, "what makes the process died")),
            (None, Some(_)) => self.console.as_ref().map(|console| received(&console.listener)).transpose(),
        };
        if let (Ok(Some(terminal)), Some(size)) = (&outcome, self.size) {
            // Only a terminal that has just ended refuses.
            let _ = set_size(terminal.as_fd(), size);
        }
        Some(Started { pid, outcome })
    }
}

/// The socket that a terminal is sent to; its name is gone with the value.
#[derive(Debug)]
pub(super) struct Console {
    listener: UnixListener,
    path: PathBuf,
}

impl Console {
    /// Listens at a path; `short` leads there too, and is short enough for the name of a socket.
    pub(super) fn listen(path: PathBuf, short: &Path) -> Result<Self, ShimError> {
        let listener = UnixListener::bind(short).doing("listen for the terminal")?;
        let console = Self { listener, path };
        console.listener.set_nonblocking(true).doing("listen for the terminal")?;
        Ok(console)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // Absent is what is wanted.
        let _ = std::fs::remove_file(&self.path);
    }
}
