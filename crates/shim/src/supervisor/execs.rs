//! Requests, and processes beside the main one.

use std::os::unix::net::UnixListener;

use serde_json::Value;

use super::clients::Role;
use super::loops::Shim;
use super::output::{received, set_size};
use super::prepare::{Document, process};
use crate::cgroup;
use crate::creator::{Creator, Job, What, Words};
use crate::error::{Doing, Fault, FaultKind};
use crate::journal::Kind;
use crate::protocol::{Answer, Exec, Request, Size, frame_json, kind};

/// One process beside the main one.
#[derive(Debug)]
pub(crate) struct Executing {
    pub(crate) client: u64,
    making: Option<Making>,
    pid: Option<i32>,
}

#[derive(Debug)]
struct Making {
    creator: Creator,
    words: Words,
    console: Option<UnixListener>,
    size: Option<Size>,
    _files: Vec<Document>,
}

impl Executing {
    pub(crate) fn creator(&self) -> Option<&Creator> {
        self.making.as_ref().map(|making| &making.creator)
    }
}

impl Shim<'_> {
    /// Reads what a client sent and does it.
    pub(super) fn serve(&mut self, id: u64) {
        let Some(at) = self.clients.iter().position(|client| client.id == id) else { return };
        let client = &mut self.clients[at];
        client.flush();
        let alive = client.read();
        while let Some((kind, content)) = self.clients[at].next() {
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
                    Err(error) => Err(Fault::invalid(format!("not a request: {error}"))),
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
    fn answer(&mut self, at: usize, request: Request) -> Result<Option<()>, Fault> {
        let pid = self.run.pid.ok_or_else(|| Fault::new(FaultKind::Conflict, "it does not run yet"))?;
        match request {
            Request::Kill { signal, told } => {
                if !told {
                    // A stop waits for nobody.
                    self.break_hold()?;
                }
                // Reaped in this turn it has ended, and its number may be another's already.
                if !self.ends.contains_key(&pid) {
                    crate::executor::signal(pid, signal).doing("send the signal")?;
                }
                if told {
                    self.event(Kind::Signalled(signal.to_string()));
                }
            }
            Request::Freeze(frozen) => {
                self.break_hold()?;
                cgroup::freeze(&self.run.cgroups, frozen).doing(if frozen { "freeze it" } else { "thaw it" })?;
                self.event(if frozen { Kind::Paused } else { Kind::Unpaused });
            }
            Request::Hold => {
                self.hold(pid)?;
                self.clients[at].role = Role::Holding;
            }
            Request::Attach { stdin } => self.clients[at].role = Role::Attached { stdin },
            Request::Wait => self.clients[at].role = Role::Waiting,
            Request::Exec(exec) => {
                self.clients[at].role = Role::Executing;
                self.execute(at, *exec)?;
                return Ok(None);
            }
        }
        Ok(Some(()))
    }

    fn execute(&mut self, at: usize, mut exec: Exec) -> Result<(), Fault> {
        // The instance's own, whatever is asked for.
        exec.process.filters = self.launch.process.filters.clone();
        exec.process.init = false;
        if self.run.pid.is_none_or(|pid| self.ends.contains_key(&pid)) {
            return Err(Fault::new(FaultKind::Conflict, "it has ended"));
        }
        if cgroup::is_frozen(&self.run.cgroups) {
            return Err(Fault::new(FaultKind::Conflict, "it is paused"));
        }
        let client = self.clients[at].id;
        let env = exec.env.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        let rlimits = self.launch.spec.pointer("/process/rlimits").cloned().unwrap_or(Value::Null);
        let (document, guise) = process(&self.prepared.root, &exec.process, env.into(), &rlimits)?;
        let document = Document::write(self.directory.at(&format!("exec-{client}.json")), &document)?;
        let what = What::More(document.0.clone());
        let mut files = vec![document];
        let descriptors: Result<[_; 3], _> = std::mem::take(&mut self.clients[at].descriptors).try_into();
        let (stdio, console) = if exec.process.tty {
            let name = format!("exec-{client}.sock");
            let (_open, short) = self.directory.socket().doing("open the instance's directory")?;
            let listener = UnixListener::bind(short.with_file_name(&name)).doing("listen for the terminal")?;
            listener.set_nonblocking(true).doing("listen for the terminal")?;
            files.push(Document(self.directory.at(&name)));
            (None, Some((listener, self.directory.at(&name))))
        } else {
            (Some(descriptors.map_err(|_| Fault::invalid("three descriptors belong to it"))?), None)
        };
        let (console, path) = console.unzip();
        let (id, state) = (self.launch.id.clone(), self.directory.at("engine"));
        let job = Job { id, state, what, process: exec.process, guise, stdio, console: path };
        let creator = crate::creator::start(job)?;
        let making = Making { creator, words: Words::default(), console, size: exec.size, _files: files };
        self.executing.push(Executing { client, making: Some(making), pid: None });
        Ok(())
    }

    /// Hears from the one who makes a client's process.
    pub(super) fn hear_executing(&mut self, client: u64) {
        let Some(one) = self.executing.iter_mut().find(|one| one.client == client) else { return };
        let Some(making) = &mut one.making else { return };
        if !making.words.read(&making.creator.status) {
            return;
        }
        let Some(mut making) = one.making.take() else { return };
        let outcome = match (making.words.verdict(), making.words.pid) {
            (Some(fault), _) => Err(fault),
            (None, None) => Err(Fault::new(FaultKind::Internal, "what makes the process died")),
            (None, Some(pid)) => {
                one.pid = Some(pid);
                making.console.as_ref().map(received).transpose()
            }
        };
        let at = self.clients.iter().position(|other| other.id == client);
        match (outcome, at) {
            (Ok(terminal), Some(at)) => {
                let framed = frame_json(kind::ANSWER, &Answer::Ok(())).unwrap_or_default();
                if let Some(terminal) = terminal {
                    if let Some(size) = making.size {
                        // Only a terminal that has just ended refuses.
                        let _ = set_size(std::os::fd::AsFd::as_fd(&terminal), size);
                    }
                    self.clients[at].send_terminal(terminal, &framed);
                } else {
                    self.clients[at].send(&framed);
                }
            }
            (Ok(_), None) => {}
            (Err(fault), at) => {
                self.executing.retain(|one| one.client != client);
                if let Some(at) = at {
                    self.reply(at, &Err(fault));
                    self.clients[at].done = true;
                }
            }
        }
        self.tell_ended();
    }

    /// Tells those whose process has ended.
    pub(super) fn tell_ended(&mut self) {
        let mut ended = Vec::new();
        let ends = &mut self.ends;
        self.executing.retain(|one| match one.pid.and_then(|pid| ends.remove(&pid)) {
            Some(end) => {
                ended.push((one.client, end));
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
