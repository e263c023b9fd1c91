//! The loop: what the host asks, what processes write, who has ended, until the guest powers off.
//!
//! ```text
//! Running -- the main process ends --> Draining -- output is sent --> Reporting -- exit is sent --> Off
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitOptions, wait};

use crate::control::Control;
use crate::freeze::Frozen;
use crate::listening::Waiting;
use crate::outbox::{Outbox, RECHECK};
use crate::process::{Child, Sinks};
use crate::protocol::{Config, Event, Exit, MAIN, Process};
use crate::{power, signals, stats};

/// How often ports are looked at before their first listener.
const LISTENING: Duration = Duration::from_millis(20);
/// How long output that the host does not take holds the end of a guest up.
const UNREAD: Duration = Duration::from_secs(5);
/// How long a host has to ask for the power-off itself.
const GOODBYE: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    /// Until output is sent, or nothing of it was taken until then.
    Draining(Instant),
    Reporting(Instant),
    Off(Instant),
}

/// What became ready.
#[derive(Debug, Clone, Copy)]
enum Ready {
    Signals,
    Button(usize),
    Control,
    Log(usize),
    Input(u32),
    Output(u32, usize),
}

pub(crate) struct Supervisor {
    pub(crate) config: Config,
    pub(crate) control: Control,
    logs: [Outbox; 2],
    signals: OwnedFd,
    buttons: Vec<File>,
    pub(crate) children: BTreeMap<u32, Child>,
    waiting: Waiting,
    pub(crate) frozen: Frozen,
    kill_at: Option<Instant>,
    pub(crate) phase: Phase,
    exit: Exit,
    pub(crate) started: Option<u32>,
    /// Whether no process is left.
    pub(crate) is_alone: bool,
}

impl Supervisor {
    pub(crate) fn new(config: Config, control: Control, logs: [Outbox; 2], signals: OwnedFd, main: Child) -> Self {
        let waiting = Waiting::new(&config.ports);
        Self {
            config,
            control,
            logs,
            signals,
            buttons: power::buttons(),
            started: Some(main.pid()),
            children: BTreeMap::from([(MAIN, main)]),
            waiting,
            frozen: Frozen::default(),
            kill_at: None,
            phase: Phase::Running,
            exit: Exit::default(),
            is_alone: false,
        }
    }

    /// For a guest that could not be set up: only its end is reported.
    pub(crate) fn ended(control: Control, logs: [Outbox; 2], signals: OwnedFd, code: i32) -> Self {
        let config = Config::new(Process::default());
        let main = Child::new(MAIN, 0, None, [None, None], Sinks::Ports);
        let mut supervisor = Self::new(config, control, logs, signals, main);
        supervisor.started = None;
        supervisor.end(Exit { code, signal: None, oom_kills: 0 });
        supervisor
    }

    /// Runs until the guest powers off.
    pub(crate) fn run(mut self) -> ! {
        loop {
            self.advance();
            if matches!(self.phase, Phase::Off(at) if at <= Instant::now()) {
                power::off();
            }
            for ready in self.wait() {
                self.handle(ready);
            }
        }
    }

    /// What does not wait for a descriptor.
    fn advance(&mut self) {
        let now = Instant::now();
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            self.signal(MAIN, libc::SIGKILL);
        }
        for port in self.waiting.found() {
            self.control.send(&Event::Listening { port: port.port, protocol: port.protocol });
        }
        self.control.out.recheck();
        let mut progress = self.control.out.flush();
        for log in &mut self.logs {
            log.recheck();
            progress |= log.flush();
        }
        self.finish_children();
        self.advance_phase(now, progress);
    }

    fn advance_phase(&mut self, now: Instant, progress: bool) {
        match self.phase {
            Phase::Draining(_) if progress => self.phase = Phase::Draining(now + UNREAD),
            Phase::Draining(until) => {
                let is_sent = self.children.is_empty() && self.logs.iter().all(Outbox::is_empty);
                if is_sent || until <= now {
                    self.control.send(&Event::Exit(self.exit));
                    self.phase = Phase::Reporting(now + UNREAD);
                }
            }
            Phase::Reporting(until) if self.control.out.is_empty() || until <= now => {
                power::sync();
                self.phase = Phase::Off(Instant::now() + GOODBYE);
            }
            Phase::Running | Phase::Reporting(_) | Phase::Off(_) => {}
        }
    }

    /// Reads what is left of processes that have ended, and reports those that are over.
    fn finish_children(&mut self) {
        let ended: Vec<u32> =
            self.children.values().filter(|child| child.exit.is_some()).map(|child| child.id).collect();
        for id in ended {
            let Some(child) = self.children.get_mut(&id) else { continue };
            // What a process of an exec has started and left running may keep its output open for ever.
            let alone = id != MAIN || self.is_alone;
            for number in 0..2 {
                while child.read_output(number, &mut self.control, &mut self.logs, alone) {}
            }
            if !child.is_over() {
                continue;
            }
            let exit = child.exit.unwrap_or_default();
            child.close();
            self.children.remove(&id);
            if id != MAIN {
                self.control.send(&Event::ExecExit { id, exit, error: None });
            }
        }
    }

    /// Waits until something is ready, or it is time for something.
    fn wait(&mut self) -> Vec<Ready> {
        let mut ready = Vec::new();
        let mut fds = Vec::new();
        let mut add = |what, fd, flags| {
            ready.push(what);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        add(Ready::Signals, self.signals.as_fd(), PollFlags::IN);
        for (number, button) in self.buttons.iter().enumerate() {
            add(Ready::Button(number), button.as_fd(), PollFlags::IN);
        }
        if self.control.out.is_connected {
            let out = if self.control.out.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            add(Ready::Control, self.control.out.port.as_fd(), PollFlags::IN | out);
        }
        for (number, log) in self.logs.iter().enumerate().filter(|(_, log)| log.is_connected && !log.is_empty()) {
            add(Ready::Log(number), log.port.as_fd(), PollFlags::OUT);
        }
        for child in self.children.values() {
            if let Some(input) = child.input.as_ref().filter(|_| child.wants_to_write()) {
                add(Ready::Input(child.id), input.fd.as_fd(), PollFlags::OUT);
            }
            for (number, fd) in child.readable(&self.control.out, &self.logs) {
                add(Ready::Output(child.id, number), fd.as_fd(), PollFlags::IN);
            }
        }
        let timeout = self.timeout().map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        // An interruption is a reason to look again, as everything else.
        poll(&mut fds, timeout.as_ref()).ok();
        let events: Vec<_> = fds.iter().map(PollFd::revents).collect();
        let happened = ready.into_iter().zip(events).filter(|(_, events)| !events.is_empty());
        happened.map(|(what, _)| what).collect()
    }

    fn timeout(&self) -> Option<Duration> {
        let now = Instant::now();
        let until = |at: Instant| at.saturating_duration_since(now);
        let phase = match self.phase {
            Phase::Running => None,
            Phase::Draining(at) | Phase::Reporting(at) | Phase::Off(at) => Some(until(at)),
        };
        let ports = [&self.control.out, &self.logs[0], &self.logs[1]];
        let disconnected = ports.iter().any(|port| !port.is_connected).then_some(RECHECK);
        let listening = (!self.waiting.is_over()).then_some(LISTENING);
        [phase, self.kill_at.map(until), disconnected, listening].into_iter().flatten().min()
    }

    fn handle(&mut self, ready: Ready) {
        match ready {
            Ready::Signals => {
                if signals::read(&self.signals) {
                    self.stop(None, None);
                }
                self.reap();
            }
            Ready::Button(number) => {
                if power::is_pressed(&self.buttons[number]) {
                    self.control.send(&Event::PowerButton);
                    self.stop(None, None);
                }
            }
            Ready::Control => {
                self.control.out.flush();
                for received in self.control.receive() {
                    self.obey(received);
                }
            }
            Ready::Log(number) => {
                self.logs[number].flush();
            }
            Ready::Input(id) => self.write_input(id),
            Ready::Output(id, number) => {
                if let Some(child) = self.children.get_mut(&id) {
                    child.read_output(number, &mut self.control, &mut self.logs, false);
                }
            }
        }
    }

    pub(crate) fn write_input(&mut self, id: u32) {
        let consumed = self.children.get_mut(&id).map_or(0, Child::write_input);
        if consumed > 0 {
            self.control.send(&Event::Consumed { id, bytes: consumed });
        }
    }

    /// Takes note of every process that has ended, whoever started it.
    fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let signal = status.terminating_signal();
                    let code = status.exit_status().or(signal.map(|signal| 128 + signal)).unwrap_or(0);
                    let exit = Exit { code, signal, oom_kills: stats::oom_kills() };
                    self.note_exit(u32::try_from(pid.as_raw_nonzero().get()).unwrap_or(0), exit);
                }
                Ok(None) => return,
                Err(_) => {
                    self.is_alone = true;
                    return;
                }
            }
        }
    }

    fn note_exit(&mut self, pid: u32, exit: Exit) {
        let Some(child) = self.children.values_mut().find(|child| child.pid() == pid && child.exit.is_none()) else {
            return;
        };
        child.exit = Some(exit);
        if child.id == MAIN {
            self.end(exit);
        }
    }

    /// The main process has ended: so does everything else.
    fn end(&mut self, exit: Exit) {
        if let Some(main) = self.children.get_mut(&MAIN) {
            main.exit = Some(exit);
        }
        self.frozen.thaw();
        self.exit = exit;
        self.kill_at = None;
        self.phase = Phase::Draining(Instant::now() + UNREAD);
        signals::kill_all();
        self.reap();
    }

    pub(crate) fn stop(&mut self, signal: Option<i32>, grace_ms: Option<u64>) {
        if self.phase != Phase::Running {
            return;
        }
        let grace = Duration::from_millis(grace_ms.unwrap_or(self.config.stop_grace_ms));
        let at = Instant::now() + grace;
        // A second request may shorten the grace, never lengthen it.
        self.kill_at = Some(self.kill_at.map_or(at, |before| before.min(at)));
        self.signal(MAIN, signal.unwrap_or(self.config.stop_signal));
    }

    pub(crate) fn signal(&mut self, id: u32, number: i32) {
        let result = match self.children.get(&id) {
            Some(child) => child.signal(number),
            None => Err(format!("there is no process {id}")),
        };
        self.refuse(result);
    }
}
