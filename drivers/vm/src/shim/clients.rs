//! What clients ask for (see `hythe_shim::protocol`).

use std::time::{Duration, Instant};

use hythe_guest::protocol::{Command, MAIN, Stats};
use hythe_shim::journal::Kind;
use hythe_shim::protocol::{Answer, Request, frame_json, kind};
use hythe_shim::{Role, ShimError, ShimErrorKind};
use serde_json::Value;

use super::execs::size;
use super::machine::Machine;
use super::qmp::Purpose;

const KILL: i32 = 9;
/// Time that a guest has to obey a KILL by itself.
const GUEST_KILLS: Duration = Duration::from_secs(3);

impl Machine<'_> {
    /// Reads what a client sent and does it.
    pub(super) fn serve(&mut self, id: u64) {
        let Some(at) = self.clients.iter().position(|client| client.id == id) else { return };
        self.clients[at].flush();
        let alive = self.clients[at].read();
        while let Some((kind, content)) = self.clients[at].next_frame() {
            self.take(at, kind, &content);
        }
        if !alive {
            self.execs.left(id, &mut self.qemu.control);
            self.clients.remove(at);
        }
    }

    fn take(&mut self, at: usize, what: u8, content: &[u8]) {
        let control = &mut self.qemu.control;
        let executing = self.execs.by_client(self.clients[at].id);
        match (what, self.clients[at].role) {
            (kind::REQUEST, Role::New) => {
                let outcome = match serde_json::from_slice(content) {
                    Ok(request) => self.answer(at, request),
                    Err(error) => Err(ShimError::new(ShimErrorKind::Invalid, format!("not a request: {error}"))),
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
            (kind::STDIN, Role::Attached { stdin: true }) => self.stdin.give(content, control),
            (kind::STDIN_END, Role::Attached { stdin: true }) => self.stdin.close(control),
            (kind::SIZE, Role::Attached { .. }) => {
                if let Ok(wanted) = serde_json::from_slice(content) {
                    control.tell(&Command::ExecResize { id: MAIN, size: size(wanted) });
                }
            }
            (kind::STDIN, Role::Executing) => executing.into_iter().for_each(|one| one.give(content, control)),
            (kind::STDIN_END, Role::Executing) => executing.into_iter().for_each(|one| one.close(control)),
            (kind::SIZE, Role::Executing) => {
                if let (Some(one), Ok(wanted)) = (executing, serde_json::from_slice(content)) {
                    one.resize(wanted, control);
                }
            }
            _ => self.clients[at].done = true,
        }
    }

    pub(super) fn reply(&mut self, at: usize, answer: &Answer) {
        self.clients[at].send(&frame_json(kind::ANSWER, answer).unwrap_or_default());
    }

    /// Answers a request that waited for QEMU.
    pub(super) fn reply_to(&mut self, id: u64, outcome: Result<(), ShimError>) {
        if let Some(at) = self.clients.iter().position(|client| client.id == id) {
            self.reply(at, &outcome);
        }
    }

    /// Gives what the guest uses to those who asked.
    pub(super) fn reply_stats(&mut self, stats: &Stats) {
        for id in std::mem::take(&mut self.stats_for) {
            let Some(at) = self.clients.iter().position(|client| client.id == id) else { continue };
            self.reply(at, &Ok(()));
            self.clients[at].send(&frame_json(kind::STATS, stats).unwrap_or_default());
            self.clients[at].done = true;
        }
    }

    /// `Some`: done; `None`: it is answered later.
    fn answer(&mut self, at: usize, request: Request) -> Result<Option<()>, ShimError> {
        let conflict = |message: &str| Err(ShimError::new(ShimErrorKind::Conflict, message));
        let id = self.clients[at].id;
        if !self.is_running() {
            return conflict("it does not run yet");
        }
        match request {
            Request::Kill { signal, told } => {
                self.signal(signal);
                if told {
                    self.event(Kind::Signalled(signal.to_string()));
                }
            }
            Request::Freeze(true) if self.state.paused => {}
            Request::Freeze(true) => {
                self.qemu.qmp.ask(Purpose::Pause(id), "stop", &Value::Null);
                return Ok(None);
            }
            Request::Freeze(false) => {
                self.qemu.qmp.ask(Purpose::Resume(Some(id)), "cont", &Value::Null);
                return Ok(None);
            }
            Request::Hold => {
                let message = "the disk of a virtual machine cannot be held still yet";
                return Err(ShimError::new(ShimErrorKind::Unsupported, message));
            }
            Request::Attach { stdin: true } if self.stdin.is_closed() => {
                return conflict("its stdin is closed: an earlier session has ended it");
            }
            Request::Attach { stdin } => self.clients[at].role = Role::Attached { stdin },
            Request::Wait => self.clients[at].role = Role::Waiting,
            Request::Stats if self.state.paused => return conflict("it is paused"),
            Request::Stats => {
                self.stats_for.push(id);
                self.qemu.control.tell(&Command::Stats);
                return Ok(None);
            }
            Request::Exec(_) if self.state.paused => return conflict("it is paused"),
            Request::Exec(exec) => {
                self.clients[at].role = Role::Executing;
                self.execs.start(id, *exec, &mut self.qemu.control);
                return Ok(None);
            }
        }
        Ok(Some(()))
    }

    fn signal(&mut self, number: i32) {
        self.qemu.control.tell(&Command::Signal { number });
        if number == KILL {
            self.reported.kill_asked = true;
            if self.state.paused {
                self.qemu.qmp.ask(Purpose::Resume(None), "cont", &Value::Null);
            }
            let by = Instant::now() + GUEST_KILLS;
            self.end_by = Some(self.end_by.map_or(by, |earlier| earlier.min(by)));
        }
    }
}
