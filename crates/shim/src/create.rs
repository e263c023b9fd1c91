//! The throw-away process that calls libcontainer, which changes whoever calls it (dumpable, directory, umask).
//!
//! It is forked from the shim and its work is made the shim's own children. What it and they have to say comes over one pipe, a document a line;
//! the pipe's end says that the program was executed, unless a fault came before.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::error::LibcontainerError;
use libcontainer::syscall::syscall::SyscallType;
use nix::libc;
use nix::unistd::{ForkResult, fork};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use crate::descriptors::close_all_but;
use crate::error::{Doing, ShimError};
use crate::executor::Payload;
use crate::library_words;
use crate::protocol::Size;
use crate::record::Process;
use crate::users::Credentials;

/// A compiled seccomp filter: instructions of classic BPF, eight bytes each as the kernel lays them out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Filter(pub Vec<u64>);

impl Filter {
    /// For this process and all it will start.
    pub(crate) fn install(&self) -> io::Result<()> {
        let mut instructions: Vec<libc::sock_filter> = self
            .0
            .iter()
            .map(|packed| {
                let [c0, c1, jt, jf, k @ ..] = packed.to_le_bytes();
                libc::sock_filter { code: u16::from_le_bytes([c0, c1]), jt, jf, k: u32::from_le_bytes(k) }
            })
            .collect();
        let length = u16::try_from(instructions.len()).map_err(io::Error::other)?;
        let program = libc::sock_fprog { len: length, filter: instructions.as_mut_ptr() };
        // SAFETY: the program and its instructions live until the call returns; the kernel copies them.
        #[expect(unsafe_code, reason = "no safe binding takes a ready program")]
        let outcome =
            unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0u32, &raw const program) };
        if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// What comes over the pipe.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum StatusMessage {
    /// The process is made.
    Pid(i32),
    /// Something failed; the process is not executed.
    Error(ShimError),
    /// Libcontainer failed, which another fault may be the cause of.
    Failure(String),
    /// What libcontainer says of a failure, which its errors do not tell.
    Note(String),
}

/// Bytes that a pipe takes at once, so that lines of several processes do not mix.
const LINE: usize = 4096;

/// Writes a message, shortened to one line. A reader that has gone needs none.
pub(crate) fn report(status: BorrowedFd<'_>, message: StatusMessage) {
    let _ = rustix::io::write(status, &line(message));
}

fn line(mut message: StatusMessage) -> Vec<u8> {
    loop {
        let mut line = serde_json::to_vec(&message).unwrap_or_default();
        line.push(b'\n');
        let text = match &mut message {
            StatusMessage::Pid(_) => return line,
            StatusMessage::Error(fault) => &mut fault.message,
            StatusMessage::Failure(text) | StatusMessage::Note(text) => text,
        };
        let count = text.chars().count();
        if line.len() <= LINE || count < 2 {
            return line;
        }
        *text = text.chars().take(count / 2).chain(['…']).collect();
    }
}

/// What is to be made.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: String,
    /// Where libcontainer keeps its state.
    pub(crate) state: PathBuf,
    pub(crate) what: What,
    pub(crate) process: Process,
    /// `NAME=value`; the complete set.
    pub(crate) env: Vec<String>,
    pub(crate) credentials: Option<Credentials>,
    /// It lives in a user namespace of an unprivileged user.
    pub(crate) rootless: bool,
    /// First size of its terminal.
    pub(crate) size: Option<Size>,
    /// What its documents name by number: `/proc/self/fd/N`.
    pub(crate) named: Vec<RawFd>,
    /// Stdin, stdout, stderr; none where a terminal's side is sent over the console socket.
    pub(crate) stdio: Option<[OwnedFd; 3]>,
    pub(crate) console: Option<PathBuf>,
    /// Path of its control groups; empty: it has none.
    pub(crate) groups: String,
}

/// Which process of the container.
#[derive(Debug)]
pub(crate) enum What {
    /// The first, from the directory with `config.json`.
    First(PathBuf),
    /// One more, from a document for its process.
    More(PathBuf),
}

/// One at work.
#[derive(Debug)]
pub(crate) struct CreateProcess {
    /// Where its messages come from.
    pub(crate) status: OwnedFd,
}

/// Forks one.
pub(crate) fn start(job: Job) -> Result<CreateProcess, ShimError> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).doing("make a pipe")?;
    rustix::fs::fcntl_setfl(&read, rustix::fs::OFlags::NONBLOCK).doing("make a pipe")?;
    // SAFETY: the shim has one thread, so nothing is left locked in the child.
    #[expect(
        unsafe_code,
        reason = "libcontainer needs a process of its own, and a program start costs more than a fork"
    )]
    match unsafe { fork() }.doing("fork")? {
        ForkResult::Parent { .. } => Ok(CreateProcess { status: read }),
        ForkResult::Child => {
            drop(read);
            // Whatever it makes without a shim would be nobody's.
            let _ = set_parent_process_death_signal(Some(Signal::KILL));
            // Of what the shim has open nothing may be there when libcontainer, and then a process inside, follow paths that an image brought.
            let stdio = job.stdio.iter().flatten().map(AsRawFd::as_raw_fd);
            let kept: Vec<RawFd> = stdio.chain(job.named.iter().copied()).chain([write.as_raw_fd()]).collect();
            close_all_but(&kept);
            // libcontainer draws the names of its sockets at random; every fork of the shim would draw the same ones.
            fastrand::seed(u64::from(std::process::id()));
            let status = Arc::new(write);
            library_words::collect(Arc::clone(&status));
            if let Err(message) = create(job, &status) {
                report(status.as_fd(), message);
            }
            leave()
        }
    }
}

#[expect(clippy::exit, reason = "a forked child that has nothing to return to")]
fn leave() -> ! {
    std::process::exit(0)
}

fn create(job: Job, status: &Arc<OwnedFd>) -> Result<(), StatusMessage> {
    crate::cgroup_setup::join_others(&job.groups)
        .doing("join the container's cgroups")
        .map_err(StatusMessage::Error)?;
    let failed = |error: LibcontainerError| StatusMessage::Failure(library_words::chain(&error));
    let is_first = matches!(job.what, What::First(_));
    let payload = Payload {
        process: job.process,
        env: job.env,
        credentials: job.credentials,
        rootless: job.rootless,
        size: job.size,
        own: crate::program::identity().doing("look at this program").map_err(StatusMessage::Error)?,
        status: Arc::clone(status),
        is_first,
    };
    let mut builder = ContainerBuilder::new(job.id, SyscallType::default())
        .with_executor(payload)
        .with_root_path(job.state)
        .map_err(failed)?
        .with_console_socket(job.console);
    if let Some([stdin, stdout, stderr]) = job.stdio {
        builder = builder.with_stdin(stdin).with_stdout(stdout).with_stderr(stderr);
    }
    match job.what {
        What::First(bundle) => {
            let init = builder.as_init(bundle).with_systemd(false).with_detach(true).as_sibling(true);
            let mut container = init.build().map_err(failed)?;
            report(status.as_fd(), StatusMessage::Pid(container.pid().map_or(0, nix_raw)));
            container.start().map_err(failed)
        }
        What::More(process) => {
            let more = builder.as_tenant().with_process(Some(process)).with_detach(true).as_sibling(true);
            let pid = more.build().map_err(failed)?;
            report(status.as_fd(), StatusMessage::Pid(nix_raw(pid)));
            Ok(())
        }
    }
}

/// Its pid is a type of another version of nix.
fn nix_raw<P: std::fmt::Display>(pid: P) -> i32 {
    pid.to_string().parse().unwrap_or(0)
}

/// Reads a creator's messages as they come.
#[derive(Debug, Default)]
pub(crate) struct StatusReader {
    buffer: Vec<u8>,
    pub(crate) pid: Option<i32>,
    fault: Option<ShimError>,
    failure: Option<String>,
    notes: Vec<String>,
}

impl StatusReader {
    /// Reads what is there; `true`: the pipe has ended.
    pub(crate) fn read(&mut self, status: &OwnedFd) -> bool {
        let mut piece = [0; 4096];
        let ended = loop {
            match rustix::io::read(status, &mut piece) {
                Ok(0) => break true,
                Ok(length) => self.buffer.write_all(&piece[..length]).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => break false,
                Err(_) => break true,
            }
        };
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(StatusMessage::Pid(pid)) => self.pid = Some(pid),
                Ok(StatusMessage::Error(fault)) => {
                    // The one that knows an exit code is the cause of the others.
                    if self.fault.as_ref().is_none_or(|had| had.code.is_none()) {
                        self.fault = Some(fault);
                    }
                }
                Ok(StatusMessage::Failure(text)) => self.failure = Some(text),
                Ok(StatusMessage::Note(note)) => self.notes.push(note),
                Err(_) => {}
            }
        }
        ended
    }

    /// Why there is no process. An error of our own code is the cause of libcontainer's.
    pub(crate) fn error(&mut self) -> Option<ShimError> {
        let failure = self.failure.take();
        self.fault.take().or_else(|| failure.map(|text| library_words::fault(&text, &self.notes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_message_longer_than_a_pipe_takes_is_shortened_to_one_line() {
        let long = format!("cannot execute `{}`", "\u{1}é".repeat(100_000));
        let fault = ShimError { code: Some(127), ..ShimError::invalid(long) };
        let line = line(StatusMessage::Error(fault));
        assert!(line.len() <= LINE, "{}", line.len());
        let read = serde_json::from_slice(&line);
        assert!(
            matches!(&read, Ok(StatusMessage::Error(fault)) if fault.code == Some(127) && fault.message.starts_with("cannot execute `")),
            "{read:?}"
        );
    }
}
