//! Requests, and processes beside the main one.

use std::time::{Duration, Instant};

use super::attach::Role;
use super::event_loop::Shim;
use super::payload::{Payload, Started, Starting};
use crate::error::{Doing, ShimError, ShimErrorKind};
use crate::journal::Kind;
use crate::protocol::{Answer, Exec, Request, frame_json, kind};
use crate::record::ExitStatus;

/// One process beside the main one.
#[derive(Debug)]
pub(crate) struct Executing {
    pub(crate) client: u64,
    starting: Option<Starting>,
    pid: Option<i32>,
    /// When it is killed, and after how many milliseconds that is.
    deadline: Option<(Instant, u64)>,
    /// Why it was killed.
    killed: Option<String>,
}

impl Executing {
    pub(crate) fn starting(&self) -> Option<&Starting> {
        self.starting.as_ref()
    }
}

impl<P: Payload> Shim<'_, P> {
    /// Reads what a client sent and does it.
    pub(super) fn serve(&mut self, id: u64) {
        let Some(at) = self.clients.iter().position(|client| client.id == id) else { return };
        let client = &mut self.clients[at];
        client.flush();
        let alive = client.read();
        while let Some((kind, content)) = self.clients[at].next_frame() {
            self.take(at, kind, &content);
        }
        if !alive {
            self.clients.remove(at);
        }
    }

    fn take(&mut self, at: usize, what: u8, content: &[u8]) {
        match (what, self.clients[at].role) {
            (kind::REQUEST, Role::New) => {
                let outcome = match serde_json::from_slice(content) {
                    Ok(request) => self.answer(at, request),
                    Err(error) => Err(ShimError::invalid(format!("not a request: {error}"))),
                };
                match outcome {
                    Ok(Some(())) => self.reply(at, &Ok(())),
                    Ok(None) => {}
                    Err(fault) => {
                        self.reply(at, &Err(fault));
                        self.clients[at].done = true;
                    }
                }
            }
            (kind::STDIN, Role::Attached { stdin: true }) => self.stdio.give(content),
            (kind::STDIN_END, Role::Attached { stdin: true }) => self.stdio.close_stdin(),
            (kind::SIZE, Role::Attached { .. }) => {
                if let Ok(size) = serde_json::from_slice(content) {
                    self.stdio.resize(size);
                }
            }
            _ => self.clients[at].done = true,
        }
    }

    fn reply(&mut self, at: usize, answer: &Answer) {
        let framed = frame_json(kind::ANSWER, answer).unwrap_or_default();
        self.clients[at].send(&framed);
    }

    /// `Some`: done; `None`: it is answered later.
    fn answer(&mut self, at: usize, request: Request) -> Result<Option<()>, ShimError> {
        let pid = self.state.pid.ok_or_else(|| ShimError::new(ShimErrorKind::Conflict, "it does not run yet"))?;
        match request {
            Request::Kill { signal, told } => {
                if !told {
                    // A stop waits for nobody.
                    self.release_freeze()?;
                }
                // Reaped in this tick it has ended, and its number may be another's already.
                if !self.exits.contains_key(&pid) {
                    self.payload.signal(pid, signal).doing("send the signal")?;
                }
                if told {
                    self.event(Kind::Signalled(signal.to_string()));
                }
            }
            Request::Freeze(frozen) => {
                self.release_freeze()?;
                self.payload.freeze(frozen).doing(if frozen { "freeze it" } else { "thaw it" })?;
                self.event(if frozen { Kind::Paused } else { Kind::Unpaused });
            }
            Request::Hold => {
                self.freeze(pid)?;
                self.clients[at].role = Role::Freezing;
            }
            Request::Attach { stdin: true } if self.stdio.is_closed() => {
                return Err(ShimError::new(
                    ShimErrorKind::Conflict,
                    "its stdin is closed: an earlier session has ended it",
                ));
            }
            Request::Attach { stdin } => self.clients[at].role = Role::Attached { stdin },
            Request::Wait => self.clients[at].role = Role::Waiting,
            Request::Stats => {
                let message = "what a container uses is in its cgroups";
                return Err(ShimError::new(ShimErrorKind::Unsupported, message));
            }
            Request::Exec(exec) => {
                self.clients[at].role = Role::Executing;
                self.execute(at, *exec)?;
                return Ok(None);
            }
        }
        Ok(Some(()))
    }

    fn execute(&mut self, at: usize, exec: Exec) -> Result<(), ShimError> {
        let conflict = |message: &str| Err(ShimError::new(ShimErrorKind::Conflict, message));
        if self.state.pid.is_none_or(|pid| self.exits.contains_key(&pid)) {
            return conflict("it has ended");
        }
        if self.frozen {
            return conflict("it is frozen while its files are copied");
        }
        if self.payload.is_frozen() {
            return conflict("it is paused");
        }
        let timeout = exec.timeout;
        let client = &mut self.clients[at];
        let stdio = std::mem::take(&mut client.descriptors);
        let starting = self.payload.exec(client.id, exec, stdio)?;
        let deadline = timeout.map(|timeout| (Instant::now() + Duration::from_millis(timeout), timeout));
        let client = client.id;
        self.executing.push(Executing { client, starting: Some(starting), pid: None, deadline, killed: None });
        Ok(())
    }

    /// How long until the next process has to be killed.
    pub(super) fn until_deadline(&self) -> Option<Duration> {
        let deadlines = self.executing.iter().filter_map(|one| one.deadline);
        deadlines.map(|(at, _)| at.saturating_duration_since(Instant::now())).min()
    }

    /// Kills whose time is over, with their process groups. One that is still being made is killed once it is.
    pub(super) fn kill_overdue(&mut self) {
        let now = Instant::now();
        for one in &mut self.executing {
            let Some((at, after)) = one.deadline.filter(|(at, _)| *at <= now) else { continue };
            let Some(pid) = one.pid.filter(|pid| *pid > 1) else {
                one.deadline = Some((now + Duration::from_millis(10), after));
                continue;
            };
            one.deadline = None;
            one.killed = Some(format!("it was killed after {after} ms"));
            // It leads a session, and a group, of its own; of both the last may have ended just now.
            let _ = crate::executor::signal(-pid, nix::libc::SIGKILL);
            let _ = (at, crate::executor::signal(pid, nix::libc::SIGKILL));
        }
    }

    /// Hears from the creator of a client's process.
    pub(super) fn on_exec_status(&mut self, client: u64) {
        let Some(one) = self.executing.iter_mut().find(|one| one.client == client) else { return };
        let Some(Started { pid, outcome }) = one.starting.as_mut().and_then(Starting::poll) else { return };
        one.starting = None;
        one.pid = pid;
        if self.executing.iter().all(|one| one.starting.is_none()) {
            self.payload.on_execs_started();
        }
        let at = self.clients.iter().position(|other| other.id == client);
        match (outcome, at) {
            (Ok(terminal), Some(at)) => {
                let framed = frame_json(kind::ANSWER, &Answer::Ok(())).unwrap_or_default();
                if let Some(terminal) = terminal {
                    self.clients[at].send_terminal(terminal, &framed);
                } else {
                    self.clients[at].send(&framed);
                }
            }
            // Nobody waits for it any more; it goes on.
            (Ok(_), None) => {}
            (Err(fault), at) => {
                self.executing.retain(|one| one.client != client);
                if let Some(at) = at {
                    self.reply(at, &Err(fault));
                    self.clients[at].done = true;
                }
            }
        }
        self.report_exits();
    }

    /// Tells those whose process has ended.
    pub(super) fn report_exits(&mut self) {
        let mut ended = Vec::new();
        let exits = &mut self.exits;
        self.executing.retain(|one| match one.pid.and_then(|pid| exits.remove(&pid)) {
            Some(end) => {
                ended.push((one.client, ExitStatus { error: one.killed.clone(), ..end }));
                false
            }
            None => true,
        });
        for (id, end) in ended {
            if let Some(client) = self.clients.iter_mut().find(|client| client.id == id) {
                client.send(&frame_json(kind::END, &end).unwrap_or_default());
                client.done = true;
            }
        }
    }
}
