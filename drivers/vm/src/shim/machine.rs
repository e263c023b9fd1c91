//! One loop over everything that can happen to a virtual machine.

use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use hythe_guest::protocol::{self, Channel, Event, Frame, MAIN};
use hythe_network::shim_network::ShimNetwork;
use hythe_shim::files::{Reserve, replace_json};
use hythe_shim::journal::{Kind, append};
use hythe_shim::logs::{Stream, Writer};
use hythe_shim::protocol::{frame, frame_json, kind};
use hythe_shim::record::{ExitStatus, Phase, State};
use hythe_shim::{
    Client, Directory, Doing as _, Network as _, Report, Role, ShimError, ShimErrorKind, block_signals, own_network,
    report_and_close,
};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

use super::console::Console;
use super::control::{Stdin, read_some};
use super::end::{Evidence, status};
use super::execs::Execs;
use super::guest_files;
use super::qemu::{self, Qemu};
use super::qmp::{Purpose, Said};
use super::recovery::{ProcessId, clear};
use crate::translate::Launch;

/// Room for the last record; an error in it may be long.
const RECORD: usize = 16 << 10;
/// Time between two stronger ways of ending QEMU.
const STRONGER: Duration = Duration::from_secs(2);
/// Time that a guest has to power off after the exit of its main process.
const POWER_OFF: Duration = Duration::from_secs(10);

/// To the supervisor's own log.
pub(super) fn log_line(text: &str) {
    // There is nobody else to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A virtual machine with its supervisor.
pub(super) struct Machine<'a> {
    directory: &'a Directory,
    launch: &'a Launch,
    network: &'a mut ShimNetwork,
    pub(super) state: State,
    reserve: Option<Reserve>,
    pub(super) qemu: Qemu,
    pub(super) evidence: Evidence,
    log: Writer,
    console: Console,
    pub(super) stdin: Stdin,
    pub(super) clients: Vec<Client>,
    pub(super) execs: Execs,
    /// Clients that wait for what the guest uses.
    pub(super) stats_for: Vec<u64>,
    signals: SignalFd,
    listener: UnixListener,
    next_client: u64,
    /// How QEMU's process ended.
    ended: Option<ExitStatus>,
    /// Streams of QEMU that are still open: stdout, stderr, console, control, monitor.
    open: [bool; 5],
    /// When it is ended by a stronger way than was tried.
    pub(super) end_by: Option<Instant>,
    quit_asked: bool,
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

fn record_failure(
    directory: &Directory,
    mut state: State,
    reserve: Option<Reserve>,
    fault: &ShimError,
) -> Result<(), ShimError> {
    let code = fault.code.unwrap_or(128);
    state.phase = Phase::Failed;
    state.pid = None;
    state.finished = Some(hythe_host::now());
    state.exit = Some(ExitStatus { code, error: Some(fault.message.clone()), ..ExitStatus::default() });
    put(directory, reserve, &state).doing("record the failure")?;
    clear(directory);
    Ok(())
}

fn put(directory: &Directory, reserve: Option<Reserve>, state: &State) -> std::io::Result<()> {
    match reserve {
        Some(reserve) => reserve.become_json(&directory.state(), state),
        None => replace_json(&directory.state(), state, true),
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
            evidence: Evidence::default(),
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

    fn pass_on(&mut self, stream: Stream) {
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

    fn read_console(&mut self) {
        let mut bytes = Vec::new();
        self.open[2] = read_some(&mut self.qemu.console, &mut bytes);
        self.console.write(&bytes);
    }

    fn hear_guest(&mut self) -> Result<(), ShimError> {
        self.qemu.control.flush();
        let mut frames = Vec::new();
        self.open[3] = self.qemu.control.read(&mut frames);
        for frame in frames {
            self.take_frame(&frame)?;
        }
        Ok(())
    }

    fn take_frame(&mut self, frame: &Frame) -> Result<(), ShimError> {
        match frame.channel {
            Channel::Message => match frame.read::<Event>() {
                Ok(event) => return self.on_event(event),
                Err(error) => log_line(&format!("the guest says what is no event: {error}")),
            },
            Channel::Stdout | Channel::Stderr => {
                self.execs.output(frame.channel, frame.id, &frame.payload, &mut self.clients);
            }
            Channel::Stdin => {}
        }
        Ok(())
    }

    fn on_event(&mut self, event: Event) -> Result<(), ShimError> {
        match event {
            Event::Boot { version, .. } if version != protocol::VERSION => {
                log_line(&format!("the guest speaks version {version} of the protocol"));
            }
            Event::Boot { .. } => {}
            Event::Started { .. } => return self.on_started(),
            Event::Listening { port, protocol } => {
                let protocol = match protocol {
                    protocol::Protocol::Tcp => "tcp",
                    protocol::Protocol::Udp => "udp",
                };
                if self.launch.shim.own_network {
                    self.qemu.qmp.forward(protocol, port);
                }
            }
            Event::Exit(exit) => {
                self.evidence.exit = Some(exit);
                self.end_by = Some(Instant::now() + POWER_OFF);
            }
            Event::Error { message } => self.evidence.error = Some(message),
            Event::ExecStarted { id, .. } => self.execs.started(id, &mut self.clients),
            Event::ExecExit { id, exit, error } => self.execs.ended(id, exit, error, &mut self.clients),
            Event::Consumed { id: MAIN, bytes } => self.stdin.consumed(bytes, &mut self.qemu.control),
            Event::Consumed { id, bytes } => self.execs.consumed(id, bytes, &mut self.qemu.control),
            Event::Stats(stats) => self.reply_stats(&stats),
            Event::Refused { message } => log_line(&format!("the guest refuses a command: {message}")),
            Event::PowerButton
            | Event::Processes { .. }
            | Event::Frozen { .. }
            | Event::Thawed
            | Event::Pong { .. } => {}
        }
        Ok(())
    }

    /// The main process was executed.
    fn on_started(&mut self) -> Result<(), ShimError> {
        if self.is_running() {
            return Ok(());
        }
        self.end_by = None;
        self.state.pid = Some(self.qemu.pid);
        self.state.phase = Phase::Running;
        self.state.started = Some(hythe_host::now());
        // A host that stops before this is on the disk finds `starting` there, and knows the machine dead all the same.
        replace_json(&self.directory.state(), &self.state, false).doing("record the start")?;
        self.event(Kind::Started);
        report_and_close(&Report::Done);
        Ok(())
    }

    fn hear_qemu(&mut self) -> Result<(), ShimError> {
        self.qemu.qmp.flush();
        let mut said = Vec::new();
        self.open[4] = self.qemu.qmp.read(&mut said);
        for one in said {
            match one {
                Said::Event(name, data) => match name.as_str() {
                    "GUEST_PANICKED" => self.evidence.panicked = true,
                    "SHUTDOWN" => self.evidence.shutdown = data["reason"].as_str().map(str::to_owned),
                    _ => {}
                },
                Said::Answer(purpose, outcome) => self.on_answer(purpose, outcome)?,
            }
        }
        Ok(())
    }

    fn on_answer(&mut self, purpose: Purpose, outcome: Result<Value, String>) -> Result<(), ShimError> {
        let failed = |error: &str| ShimError::new(ShimErrorKind::Internal, format!("QEMU: {error}"));
        match (purpose, outcome) {
            (Purpose::Pause(client), outcome) => {
                if outcome.is_ok() {
                    self.set_paused(true)?;
                }
                self.reply_to(client, outcome.map(drop).map_err(|error| failed(&error)));
            }
            (Purpose::Resume(client), outcome) => {
                if outcome.is_ok() && self.state.paused {
                    self.set_paused(false)?;
                }
                if let Some(client) = client {
                    self.reply_to(client, outcome.map(drop).map_err(|error| failed(&error)));
                }
            }
            (Purpose::Forward, Ok(Value::String(words))) if !words.trim().is_empty() => {
                log_line(&format!("a port cannot be handed on: {}", words.trim()));
            }
            (_, Err(error)) => log_line(&format!("QEMU refuses a command: {error}")),
            (Purpose::Capabilities | Purpose::Forward | Purpose::Quit, Ok(_)) => {}
        }
        Ok(())
    }

    fn set_paused(&mut self, paused: bool) -> Result<(), ShimError> {
        self.state.paused = paused;
        replace_json(&self.directory.state(), &self.state, false).doing("record the pause")?;
        self.event(if paused { Kind::Paused } else { Kind::Unpaused });
        Ok(())
    }

    /// Ends what does not end by itself: first by the monitor, then by a signal.
    fn end_overdue(&mut self) {
        if self.end_by.is_none_or(|at| at > Instant::now()) || self.ended.is_some() {
            return;
        }
        self.end_by = Some(Instant::now() + STRONGER);
        if !self.is_running() && self.evidence.exit.is_none() {
            self.evidence.overdue = true;
        }
        if !self.quit_asked {
            self.quit_asked = true;
            return self.qemu.qmp.ask(Purpose::Quit, "quit", &Value::Null);
        }
        // It is our child and not reaped, so that its number is nobody else's.
        if let Some(pid) = rustix::process::Pid::from_raw(self.qemu.pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    /// Tells an event; one that cannot be written is lost, the record is not.
    pub(super) fn event(&self, kind: Kind) {
        let shim = &self.launch.shim;
        if let Err(error) = append(&shim.journal, &shim.id, &shim.metadata, kind) {
            log_line(&format!("cannot record an event: {error}"));
        }
    }

    /// Whatever QEMU wrote before its end.
    fn drain(&mut self) -> Result<(), ShimError> {
        while self.open[0] {
            self.pass_on(Stream::Stdout);
        }
        while self.open[1] {
            self.pass_on(Stream::Stderr);
        }
        while self.open[2] {
            self.read_console();
        }
        while self.open[3] {
            self.hear_guest()?;
        }
        while self.open[4] {
            self.hear_qemu()?;
        }
        Ok(())
    }

    fn end(&mut self, qemu: &ExitStatus) -> Result<(), ShimError> {
        let end = status(&self.evidence, qemu, &qemu::last_words(self.directory));
        if self.launch.shim.own_network
            && let Err(fault) = self.network.detach(&self.launch.shim)
        {
            log_line(&fault.message);
        }
        if !self.is_running() {
            let fault = self.not_started(&end);
            record_failure(self.directory, self.state.clone(), self.reserve.take(), &fault)?;
            return Err(fault);
        }
        self.state.phase = Phase::Stopped;
        self.state.pid = None;
        self.state.paused = false;
        self.state.finished = Some(hythe_host::now());
        self.state.exit = Some(end.clone());
        put(self.directory, self.reserve.take(), &self.state).doing("record the end")?;
        clear(self.directory);
        if end.oom {
            self.event(Kind::OutOfMemory);
        }
        let framed = frame_json(kind::END, &end).unwrap_or_default();
        self.event(Kind::Stopped(end));
        self.execs.fail_all(&mut self.clients);
        for client in &mut self.clients {
            if matches!(client.role, Role::Attached { .. } | Role::Waiting) {
                client.send(&framed);
            }
            client.finish();
        }
        Ok(())
    }

    /// Why it did not start.
    fn not_started(&self, end: &ExitStatus) -> ShimError {
        let message = end.error.clone();
        if self.evidence.overdue {
            let seconds = self.launch.machine.start_timeout;
            let last = self.console.last_line();
            let message = format!("the guest did not start within {seconds} s; its console ends with: {last}");
            return ShimError::new(ShimErrorKind::Internal, message);
        }
        if let Some(exit) = self.evidence.exit {
            let code = Some(exit.code).filter(|code| matches!(code, 126 | 127));
            let message = message.unwrap_or_else(|| format!("the guest ended with code {}", exit.code));
            let kind = if code.is_some() { ShimErrorKind::Invalid } else { ShimErrorKind::Internal };
            return ShimError { code, ..ShimError::new(kind, message) };
        }
        let message = message.unwrap_or_else(|| "the guest ended before its main process was started".to_owned());
        ShimError::new(
            ShimErrorKind::Internal,
            format!("{message}; its console ends with: {}", self.console.last_line()),
        )
    }
}
