//! The throw-away process that calls libcontainer, which changes whoever calls it (dumpable, directory, umask).
//!
//! It is forked from the shim and its work is made the shim's own children. What it and they have to say comes over one pipe, a document a line;
//! the pipe's end says that the program was executed, unless a fault came before.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::libc;
use nix::unistd::{ForkResult, fork};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use crate::error::{Doing, Fault, FaultKind};
use crate::executor::Payload;
use crate::record::Process;
use crate::users::Guise;

/// A compiled system call filter: instructions of classic BPF, eight bytes each as the kernel lays them out.
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
pub(crate) enum Word {
    /// The process is made.
    Pid(i32),
    /// Something failed; the process is not executed.
    Fault(Fault),
    /// What libcontainer says of a failure, which its errors do not tell.
    Note(String),
}

/// Says a word; who cannot be told has died, and will be told by the end of the pipe.
pub(crate) fn tell(status: BorrowedFd<'_>, word: &Word) {
    let mut line = serde_json::to_vec(word).unwrap_or_default();
    line.push(b'\n');
    // Shorter than a pipe takes at once, so that lines of several processes do not mix.
    line.truncate(4096);
    let _ = rustix::io::write(status, &line);
}

/// What is to be made.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: String,
    /// Where libcontainer keeps its state.
    pub(crate) state: PathBuf,
    pub(crate) what: What,
    pub(crate) process: Process,
    pub(crate) guise: Option<Guise>,
    /// Stdin, stdout, stderr; none where a terminal's side is sent over the console socket.
    pub(crate) stdio: Option<[OwnedFd; 3]>,
    pub(crate) console: Option<PathBuf>,
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
pub(crate) struct Creator {
    /// Where its words come from.
    pub(crate) status: OwnedFd,
}

/// Forks one.
pub(crate) fn start(job: Job) -> Result<Creator, Fault> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).doing("make a pipe")?;
    rustix::fs::fcntl_setfl(&read, rustix::fs::OFlags::NONBLOCK).doing("make a pipe")?;
    // SAFETY: the shim has one thread, so nothing is left locked in the child.
    #[expect(
        unsafe_code,
        reason = "libcontainer needs a process of its own, and a program start costs more than a fork"
    )]
    match unsafe { fork() }.doing("fork")? {
        ForkResult::Parent { .. } => Ok(Creator { status: read }),
        ForkResult::Child => {
            drop(read);
            // Whatever it makes without a shim would be nobody's.
            let _ = set_parent_process_death_signal(Some(Signal::KILL));
            let status = Arc::new(write);
            crate::creator::notes::collect(Arc::clone(&status));
            if let Err(fault) = create(job, &status) {
                tell(status.as_fd(), &Word::Fault(fault));
            }
            leave()
        }
    }
}

#[expect(clippy::exit, reason = "a forked child that has nothing to return to")]
fn leave() -> ! {
    std::process::exit(0)
}

fn create(job: Job, status: &Arc<OwnedFd>) -> Result<(), Fault> {
    let is_first = matches!(job.what, What::First(_));
    let payload = Payload { process: job.process, guise: job.guise, status: Arc::clone(status), is_first };
    let mut builder = ContainerBuilder::new(job.id, SyscallType::default())
        .with_executor(payload)
        .with_root_path(job.state)
        .map_err(|error| failed(&error))?
        .with_console_socket(job.console);
    if let Some([stdin, stdout, stderr]) = job.stdio {
        builder = builder.with_stdin(stdin).with_stdout(stdout).with_stderr(stderr);
    }
    match job.what {
        What::First(bundle) => {
            let init = builder.as_init(bundle).with_systemd(false).with_detach(true).as_sibling(true);
            let mut container = init.build().map_err(|error| failed(&error))?;
            tell(status.as_fd(), &Word::Pid(container.pid().map_or(0, nix_raw)));
            container.start().map_err(|error| failed(&error))
        }
        What::More(process) => {
            let more = builder.as_tenant().with_process(Some(process)).with_detach(true).as_sibling(true);
            let pid = more.build().map_err(|error| failed(&error))?;
            tell(status.as_fd(), &Word::Pid(nix_raw(pid)));
            Ok(())
        }
    }
}

/// Its pid is a type of another version of nix.
fn nix_raw<P: std::fmt::Display>(pid: P) -> i32 {
    pid.to_string().parse().unwrap_or(0)
}

/// The whole chain, since the first of libcontainer's errors says little.
fn failed(error: &dyn std::error::Error) -> Fault {
    let mut message = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        next = cause.source();
    }
    Fault::new(FaultKind::Internal, message)
}

/// What libcontainer logs as errors, from whichever of its processes.
mod notes {
    use std::fmt::{Debug, Write};

    use tracing::field::{Field, Visit};
    use tracing::{Event, Level, Metadata, Subscriber, span};

    use super::{Arc, AsFd, OwnedFd, Word, tell};

    struct Notes(Arc<OwnedFd>);

    pub(super) fn collect(status: Arc<OwnedFd>) {
        // The first of this process, which was just forked.
        let _ = tracing::subscriber::set_global_default(Notes(status));
    }

    struct Text(String);

    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            let text = &mut self.0;
            let _ = match field.name() {
                "message" => write!(text, "{value:?}"),
                name => write!(text, " ({name} {value:?})"),
            };
        }
    }

    impl Subscriber for Notes {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() == Level::ERROR
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut text = Text(String::new());
            event.record(&mut text);
            tell(self.0.as_fd(), &Word::Note(text.0.chars().take(1000).collect()));
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }
}

/// Reads a creator's words as they come.
#[derive(Debug, Default)]
pub(crate) struct Words {
    buffer: Vec<u8>,
    pub(crate) pid: Option<i32>,
    pub(crate) fault: Option<Fault>,
    notes: Vec<String>,
}

impl Words {
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
                Ok(Word::Pid(pid)) => self.pid = Some(pid),
                Ok(Word::Fault(fault)) => {
                    // The one that knows an exit code is the cause of the others.
                    if self.fault.as_ref().is_none_or(|had| had.code.is_none()) {
                        self.fault = Some(fault);
                    }
                }
                Ok(Word::Note(note)) => self.notes.push(note),
                Err(_) => {}
            }
        }
        ended
    }

    /// The fault with what was noted on the way to it.
    pub(crate) fn verdict(&mut self) -> Option<Fault> {
        let mut fault = self.fault.take()?;
        if fault.code.is_none() {
            let new =
                self.notes.iter().filter(|note| !fault.message.contains(note.as_str())).cloned().collect::<Vec<_>>();
            if !new.is_empty() {
                fault.message = format!("{} [{}]", fault.message, new.join("; "));
            }
        }
        Some(fault)
    }
}
