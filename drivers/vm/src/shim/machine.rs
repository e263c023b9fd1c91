//! One loop over everything that can happen to a virtual machine.

use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use hythe_guest::protocol::MAIN;
use hythe_network::shim_network::ShimNetwork;
use hythe_shim::files::{Reserve, replace_json};
use hythe_shim::journal::{Kind, append};
use hythe_shim::logs::{Stream, Writer};
use hythe_shim::protocol::{frame, kind};
use hythe_shim::record::{ExitStatus, Phase, State};
use hythe_shim::{Client, Directory, Doing as _, Network as _, Role, ShimError, block_signals, own_network};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::console::Console;
use super::control::{Stdin, read_some};
use super::end::Reported;
use super::ending::record_failure;
use super::execs::Execs;
use super::guest_files;
use super::qemu::{self, Qemu};
use super::recovery::{ProcessId, clear};
use crate::translate::Launch;

/// Room for the last record; an error in it may be long.
const RECORD: usize = 16 << 10;

/// To the supervisor's own log.
pub(super) fn log_line(text: &str) {
    // There is nobody else to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A virtual machine with its supervisor.
pub(super) struct Machine<'a> {
    pub(super) directory: &'a Directory,
    pub(super) launch: &'a Launch,
    pub(super) network: &'a mut ShimNetwork,
    pub(super) state: State,
    pub(super) reserve: Option<Reserve>,
    pub(super) qemu: Qemu,
    pub(super) reported: Reported,
    pub(super) log: Writer,
    pub(super) console: Console,
    pub(super) stdin: Stdin,
    pub(super) clients: Vec<Client>,
    pub(super) execs: Execs,
    /// Clients that wait for what the guest uses.
    pub(super) stats_for: Vec<u64>,
    signals: SignalFd,
    listener: UnixListener,
    next_client: u64,
    /// How QEMU's process ended.
    pub(super) ended: Option<ExitStatus>,
    /// Streams of QEMU that are still open: stdout, stderr, console, control, monitor.
    pub(super) open: [bool; 5],
    /// When it is ended by a stronger way than was tried.
    pub(super) end_by: Option<Instant>,
    pub(super) quit_asked: bool,
}

/// What has something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    Signals,
    Listener,
    Output(Stream),
    Console,
    Control,
    Monitor,
    Client(u64),
    Network,
}

/// From the first record to the last.
pub(super) fn run(directory: &Directory, launch: &Launch, network: &mut ShimNetwork) -> Result<(), ShimError> {
    let state = State::starting();
    replace_json(&directory.state(), &state, true).doing("record the start")?;
    clear(directory);
    match Machine::begin(directory, launch, network, state.clone()) {
        Ok(mut machine) => machine.run_until_exit(),
        Err(fault) => {
            if launch.shim.own_network {
                // What cannot be disconnected is found by a later look.
                let _ = network.detach(&launch.shim);
            }
            record_failure(directory, state, None, &fault)?;
            Err(fault)
        }
    }
}

impl<'a> Machine<'a> {
    fn begin(
        directory: &'a Directory,
        launch: &'a Launch,
        network: &'a mut ShimNetwork,
        mut state: State,
    ) -> Result<Self, ShimError> {
        let signals = block_signals()?;
        let log = Writer::open(&directory.logs(), launch.shim.logs).doing("open the log")?;
        let console = Console::open(&directory.at("console.log")).doing("open the console's log")?;
        let reserve = Reserve::new(directory.at("run.next"), RECORD).doing("reserve space for the last record")?;
        let (_open, path) = directory.socket().doing("open the instance's directory")?;
        let listener = UnixListener::bind(path).doing("listen on the instance's socket")?;
        listener.set_nonblocking(true).doing("listen on the instance's socket")?;
        let mut namespace = None;
        if launch.shim.own_network {
            network.reserve(&launch.shim)?;
            let own = own_network()?;
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&own));
            state.network = network.attach(&launch.shim, std::path::Path::new(&path))?;
            namespace = Some(own);
        }
        guest_files::write(directory, launch)?;
        let qemu = qemu::spawn(directory, launch, namespace)?;
        if let Some(process) = ProcessId::of(qemu.pid) {
            process.write(directory)?;
        }
        Ok(Self {
            directory,
            launch,
            network,
            state,
            reserve: Some(reserve),
            qemu,
            reported: Reported::default(),
            log,
            console,
            stdin: Stdin::new(MAIN),
            clients: Vec::new(),
            execs: Execs::default(),
            stats_for: Vec::new(),
            signals,
            listener,
            next_client: 0,
            ended: None,
            open: [true; 5],
            end_by: Some(Instant::now() + Duration::from_secs(launch.machine.start_timeout)),
            quit_asked: false,
        })
    }

    pub(super) fn is_running(&self) -> bool {
        self.state.phase == Phase::Running
    }

    fn run_until_exit(&mut self) -> Result<(), ShimError> {
        loop {
            for ready in self.wait()? {
                self.handle(ready)?;
            }
            self.execs.give_back(&self.clients, &mut self.qemu.control);
            self.execs.kill_overdue(&mut self.qemu.control);
            self.end_overdue();
            self.clients.retain(|client| !client.is_over());
            if let Some(qemu) = self.ended.clone() {
                self.drain()?;
                return self.end(&qemu);
            }
        }
    }

    fn wait(&self) -> Result<Vec<Ready>, ShimError> {
        let mut watched: Vec<(Ready, BorrowedFd<'_>, PollFlags)> = vec![
            (Ready::Signals, self.signals.as_fd(), PollFlags::IN),
            (Ready::Listener, self.listener.as_fd(), PollFlags::IN),
        ];
        let written = |behind| if behind { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let streams = [
            (Ready::Output(Stream::Stdout), self.qemu.stdout.as_fd(), PollFlags::IN),
            (Ready::Output(Stream::Stderr), self.qemu.stderr.as_fd(), PollFlags::IN),
            (Ready::Console, self.qemu.console.as_fd(), PollFlags::IN),
            (Ready::Control, self.qemu.control.fd(), written(self.qemu.control.is_behind())),
            (Ready::Monitor, self.qemu.qmp.fd(), written(self.qemu.qmp.is_behind())),
        ];
        watched.extend(streams.into_iter().zip(self.open).filter(|(_, open)| *open).map(|(stream, _)| stream));
        watched.extend(self.network.descriptor().map(|fd| (Ready::Network, fd, PollFlags::IN)));
        for client in &self.clients {
            let is_full = match client.role {
                Role::Attached { stdin: true } => !self.stdin.has_room(),
                Role::Executing => !self.execs.takes_from(client.id),
                Role::New | Role::Attached { stdin: false } | Role::Waiting | Role::Freezing => false,
            };
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, !is_full);
            flags.set(PollFlags::OUT, client.is_behind());
            watched.push((Ready::Client(client.id), client.socket(), flags));
        }
        let mut fds: Vec<PollFd<'_>> =
            watched.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let until = |at: Instant| at.saturating_duration_since(Instant::now());
        let longest = self.execs.until_deadline().into_iter().chain(self.end_by.map(until)).min();
        let longest = longest.and_then(|wait| Timespec::try_from(wait).ok());
        match poll(&mut fds, longest.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).doing("wait"),
        }
        let ready = watched.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|((ready, ..), _)| *ready).collect())
    }

    fn handle(&mut self, ready: Ready) -> Result<(), ShimError> {
        match ready {
            Ready::Signals => self.reap(),
            Ready::Listener => self.accept(),
            Ready::Output(stream) => self.pass_on(stream),
            Ready::Console => self.read_console(),
            Ready::Control => return self.hear_guest(),
            Ready::Monitor => self.hear_qemu()?,
            Ready::Client(id) => self.serve(id),
            // A relay that broke serves nobody any more; the machine goes on.
            Ready::Network => drop(self.network.turn()),
        }
        Ok(())
    }

    fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            self.next_client += 1;
            // One that cannot be served is closed.
            self.clients.extend(Client::new(self.next_client, socket));
        }
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
                Ok(WaitStatus::StillAlive) | Err(nix::Error::ECHILD) => return,
                Ok(_) | Err(_) => continue,
            };
            if pid.as_raw() == self.qemu.pid {
                self.ended = Some(end);
            }
        }
    }

    pub(super) fn pass_on(&mut self, stream: Stream) {
        let mut bytes = Vec::new();
        let (socket, at, kind) = match stream {
            Stream::Stdout => (&mut self.qemu.stdout, 0, kind::STDOUT),
            Stream::Stderr => (&mut self.qemu.stderr, 1, kind::STDERR),
        };
        self.open[at] = read_some(socket, &mut bytes);
        if bytes.is_empty() {
            return;
        }
        self.log.write(stream, &bytes);
        let framed = frame(kind, &bytes);
        for client in self.clients.iter_mut().filter(|client| matches!(client.role, Role::Attached { .. })) {
            client.send(&framed);
        }
    }

    pub(super) fn read_console(&mut self) {
        let mut bytes = Vec::new();
        self.open[2] = read_some(&mut self.qemu.console, &mut bytes);
        self.console.write(&bytes);
    }

    /// Tells an event; one that cannot be written is lost, the record is not.
    pub(super) fn event(&self, kind: Kind) {
        let shim = &self.launch.shim;
        if let Err(error) = append(&shim.journal, &shim.id, &shim.metadata, kind) {
            log_line(&format!("cannot record an event: {error}"));
        }
    }
}
