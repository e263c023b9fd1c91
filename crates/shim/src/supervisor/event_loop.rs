//! One loop over everything that can happen to a container.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::attach::{Client, Role};
use super::container::Container;
use super::output::Stdio;
use super::payload::{Payload, Started, Starting};
use super::{Network, Report, recovery, report_and_close};
use crate::directory::Directory;
use crate::error::{Doing, ShimError};
use crate::files::{Reserve, replace_json};
use crate::logs::{Stream, Writer};
use crate::namespace::Joined;
use crate::protocol::{frame, kind};
use crate::record::{Config, ExitStatus, State};
use crate::supervisor::exec::Executing;

/// What is read at once.
const PIECE: usize = 64 << 10;
/// Room for the last record; an error in it may be long.
const RECORD: usize = 16 << 10;

/// A living shim.
pub(super) struct Shim<'a, P> {
    pub(crate) directory: &'a Directory,
    pub(crate) config: &'a Config,
    pub(crate) network: &'a mut dyn Network,
    pub(crate) state: State,
    pub(crate) reserve: Option<Reserve>,
    pub(super) payload: P,
    pub(crate) log: Writer,
    pub(crate) stdio: Stdio,
    pub(crate) clients: Vec<Client>,
    pub(crate) executing: Vec<Executing>,
    /// It is frozen for a reader of its files, and not paused besides.
    pub(crate) frozen: bool,
    /// Ends of children that nobody has asked for yet.
    pub(crate) exits: HashMap<i32, ExitStatus>,
    /// The main process, until it is executed.
    starting: Option<Starting>,
    signals: SignalFd,
    listener: UnixListener,
    next_client: u64,
}

/// What has something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    Signals,
    Listener,
    Output(Stream),
    Stdin,
    Client(u64),
    Starting,
    Executing(u64),
    Network,
}

/// From the first record to the last.
pub(super) fn run(
    directory: &Directory,
    config: &Config,
    network: &mut dyn Network,
    joined: Option<&Joined>,
) -> Result<(), ShimError> {
    let state = State::starting();
    replace_json(&directory.state(), &state, true).doing("record the start")?;
    recovery::clear(directory);
    let prepare = |network: &mut dyn Network| Container::prepare(directory, config, network, joined);
    let begun = Shim::begin(directory, config, network, state.clone(), prepare);
    let mut shim = match begun {
        Ok(shim) => shim,
        Err(fault) => {
            // What was connected before the fault is disconnected; what cannot be is found by a later look.
            let _ = network.detach(config);
            let _ = crate::cgroup::remove(&recovery::groups(config));
            super::exit::record_failure(directory, state, None, &fault)?;
            return Err(fault);
        }
    };
    shim.run_until_exit()
}

impl<'a, P: Payload> Shim<'a, P> {
    fn begin(
        directory: &'a Directory,
        config: &'a Config,
        network: &'a mut dyn Network,
        state: State,
        prepare: impl FnOnce(&mut dyn Network) -> Result<P, ShimError>,
    ) -> Result<Self, ShimError> {
        let signals = block_signals()?;
        let log = Writer::open(&directory.logs(), config.logs).doing("open the log")?;
        let payload = prepare(network)?;
        let reserve = Reserve::new(directory.at("run.next"), RECORD).doing("reserve space for the last record")?;
        let (_open, path) = directory.socket().doing("open the instance's directory")?;
        let listener = UnixListener::bind(path).doing("listen on the instance's socket")?;
        listener.set_nonblocking(true).doing("listen on the instance's socket")?;
        let (stdio, starting) = payload.start()?;
        let state = State { network: payload.network().clone(), ..state };
        Ok(Self {
            directory,
            config,
            network,
            state,
            reserve: Some(reserve),
            payload,
            log,
            stdio,
            clients: Vec::new(),
            executing: Vec::new(),
            frozen: false,
            exits: HashMap::new(),
            starting: Some(starting),
            signals,
            listener,
            next_client: 0,
        })
    }

    fn run_until_exit(&mut self) -> Result<(), ShimError> {
        let mut piece = vec![0; PIECE];
        loop {
            for ready in self.wait()? {
                self.handle(ready, &mut piece)?;
            }
            self.kill_overdue();
            self.clients.retain(|client| !client.is_over());
            self.thaw_when_released();
            if self.starting.is_none()
                && let Some(end) = self.state.pid.and_then(|pid| self.exits.remove(&pid))
            {
                return self.end(end, &mut piece);
            }
        }
    }

    fn wait(&self) -> Result<Vec<Ready>, ShimError> {
        let mut watched: Vec<(Ready, BorrowedFd<'_>, PollFlags)> = vec![
            (Ready::Signals, self.signals.as_fd(), PollFlags::IN),
            (Ready::Listener, self.listener.as_fd(), PollFlags::IN),
        ];
        watched.extend(self.stdio.sources().map(|(stream, fd)| (Ready::Output(stream), fd, PollFlags::IN)));
        watched.extend(self.stdio.blocked().map(|fd| (Ready::Stdin, fd, PollFlags::OUT)));
        watched.extend(self.starting.as_ref().map(|one| (Ready::Starting, one.descriptor(), PollFlags::IN)));
        let execs = self.executing.iter().filter_map(|one| Some((one.client, one.starting()?)));
        watched.extend(execs.map(|(client, one)| (Ready::Executing(client), one.descriptor(), PollFlags::IN)));
        watched.extend(self.network.descriptor().map(|fd| (Ready::Network, fd, PollFlags::IN)));
        for client in &self.clients {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, self.stdio.takes_stdin() || client.role != (Role::Attached { stdin: true }));
            flags.set(PollFlags::OUT, client.is_behind());
            watched.push((Ready::Client(client.id), client.socket(), flags));
        }
        let mut fds: Vec<PollFd<'_>> =
            watched.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let longest = self.until_deadline().and_then(|wait| Timespec::try_from(wait).ok());
        match poll(&mut fds, longest.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).doing("wait"),
        }
        let ready = watched.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|((ready, ..), _)| *ready).collect())
    }

    fn handle(&mut self, ready: Ready, piece: &mut [u8]) -> Result<(), ShimError> {
        match ready {
            Ready::Signals => self.reap(),
            Ready::Listener => self.accept(),
            Ready::Output(stream) => {
                self.pass_on(stream, piece);
            }
            Ready::Stdin => self.stdio.flush(),
            Ready::Client(id) => self.serve(id),
            Ready::Starting => return self.on_start_status(),
            Ready::Executing(client) => self.on_exec_status(client),
            // A relay that broke serves nobody any more; the container goes on.
            Ready::Network => drop(self.network.turn()),
        }
        Ok(())
    }

    /// Passes one piece of output on; `false`: there was none.
    pub(crate) fn pass_on(&mut self, stream: Stream, piece: &mut [u8]) -> bool {
        let Some(length) = self.stdio.read(stream, piece) else { return false };
        let bytes = &piece[..length];
        self.log.write(stream, bytes);
        let kind = if stream == Stream::Stdout { kind::STDOUT } else { kind::STDERR };
        let mut framed = None;
        for client in self.clients.iter_mut().filter(|client| matches!(client.role, Role::Attached { .. })) {
            client.send(framed.get_or_insert_with(|| frame(kind, bytes)));
        }
        true
    }

    fn reap(&mut self) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        loop {
            let (pid, end) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, ExitStatus { code, ..ExitStatus::default() }),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    let number = signal as i32;
                    (pid, ExitStatus { code: 128 + number, signal: Some(number), ..ExitStatus::default() })
                }
                Ok(WaitStatus::StillAlive) | Err(nix::Error::ECHILD) => break,
                Ok(_) | Err(_) => continue,
            };
            self.exits.insert(pid.as_raw(), end);
        }
        self.report_exits();
        if self.starting.is_none() && self.executing.iter().all(|one| one.starting().is_none()) {
            let main = self.state.pid;
            self.exits.retain(|pid, _| Some(*pid) == main);
        }
    }

    fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            self.next_client += 1;
            // One that cannot be served is closed.
            self.clients.extend(Client::new(self.next_client, socket));
        }
    }

    fn on_start_status(&mut self) -> Result<(), ShimError> {
        let Some(Started { pid, outcome }) = self.starting.as_mut().and_then(Starting::poll) else { return Ok(()) };
        self.starting = None;
        let outcome = outcome.and_then(|terminal| terminal.map_or(Ok(()), |terminal| self.stdio.terminal(terminal)));
        match outcome {
            Ok(()) => self.started(pid),
            Err(error) => {
                self.give_up(pid, &error);
                Err(error)
            }
        }
    }

    fn started(&mut self, pid: Option<i32>) -> Result<(), ShimError> {
        self.state.pid = pid;
        self.state.cgroups = self.payload.on_started();
        super::exit::record_start(self)?;
        report_and_close(&Report::Done);
        self.reap();
        Ok(())
    }
}

/// Blocks what a supervisor does not die of; the ends of its children come through the descriptor.
///
/// # Errors
/// The kernel refuses.
pub fn block_signals() -> Result<SignalFd, ShimError> {
    // What is not for the container's end comes from a terminal or a session that is none of ours.
    let mut blocked = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        blocked.add(signal);
    }
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None).doing("block signals")?;
    SignalFd::with_flags(&blocked, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).doing("receive signals")
}
