//! Processes beside the main one, each for the client whose connection carries its streams.

use std::time::{Duration, Instant};

use hythe_guest::protocol::{self, Channel, Command};
use hythe_shim::protocol::{Answer, Exec, Size, frame, frame_json, kind};
use hythe_shim::record::{ExitStatus, Process};
use hythe_shim::{Client, ShimError, ShimErrorKind};

use super::control::{Control, Stdin};

/// A client that is further behind than this gets no more from the guest.
const BEHIND: usize = 256 << 10;

/// One process beside the main one.
#[derive(Debug)]
pub(super) struct Executing {
    pub(super) client: u64,
    /// Names it in the guest.
    id: u32,
    stdin: Option<Stdin>,
    /// Bytes of stdout and stderr that the guest does not know yet to be consumed.
    owed: (u64, u64),
    /// When it is killed, and after how many milliseconds that is.
    deadline: Option<(Instant, u64)>,
    /// Why it was killed.
    killed: Option<String>,
}

/// All of one guest.
#[derive(Debug, Default)]
pub(super) struct Execs {
    all: Vec<Executing>,
    last: u32,
}

impl Execs {
    /// Asks the guest for one; the answer comes later.
    pub(super) fn start(&mut self, client: u64, exec: Exec, control: &mut Control) {
        self.last += 1;
        let id = self.last;
        let stdin = exec.process.stdin;
        let deadline = exec.timeout.map(|timeout| (Instant::now() + Duration::from_millis(timeout), timeout));
        let mut process = process(exec.process, exec.env.iter().map(|(name, value)| format!("{name}={value}")));
        process.size = exec.size.map(size);
        control.tell(&Command::Exec { id, process, stdin });
        let stdin = stdin.then(|| Stdin::new(id));
        self.all.push(Executing { client, id, stdin, owed: (0, 0), deadline, killed: None });
    }

    pub(super) fn by_client(&mut self, client: u64) -> Option<&mut Executing> {
        self.all.iter_mut().find(|one| one.client == client)
    }

    fn by_id(&mut self, id: u32) -> Option<&mut Executing> {
        self.all.iter_mut().find(|one| one.id == id)
    }

    /// Whether more is read from this client.
    pub(super) fn takes_from(&self, client: u64) -> bool {
        let one = self.all.iter().find(|one| one.client == client);
        one.and_then(|one| one.stdin.as_ref()).is_none_or(Stdin::has_room)
    }

    pub(super) fn consumed(&mut self, id: u32, bytes: u64, control: &mut Control) {
        if let Some(stdin) = self.by_id(id).and_then(|one| one.stdin.as_mut()) {
            stdin.consumed(bytes, control);
        }
    }

    /// It runs.
    pub(super) fn started(&mut self, id: u32, clients: &mut [Client]) {
        let Some(one) = self.by_id(id) else { return };
        if let Some(client) = clients.iter_mut().find(|client| client.id == one.client) {
            client.send(&frame_json(kind::ANSWER, &Answer::Ok(())).unwrap_or_default());
        }
    }

    /// It wrote something.
    pub(super) fn output(&mut self, channel: Channel, id: u32, bytes: &[u8], clients: &mut [Client]) {
        let Some(one) = self.by_id(id) else { return };
        let (kind, owed) = match channel {
            Channel::Stdout => (kind::STDOUT, &mut one.owed.0),
            Channel::Stderr => (kind::STDERR, &mut one.owed.1),
            Channel::Message | Channel::Stdin => return,
        };
        *owed += bytes.len() as u64;
        if let Some(client) = clients.iter_mut().find(|client| client.id == one.client).filter(|_| !bytes.is_empty()) {
            client.send(&frame(kind, bytes));
        }
    }

    /// Lets the guest send more to those who have read what came.
    pub(super) fn give_back(&mut self, clients: &[Client], control: &mut Control) {
        for one in self.all.iter_mut().filter(|one| one.owed != (0, 0)) {
            let is_behind = clients.iter().any(|client| client.id == one.client && client.behind() > BEHIND);
            if !is_behind {
                let (stdout, stderr) = std::mem::take(&mut one.owed);
                control.tell(&Command::Consumed { id: one.id, stdout, stderr });
            }
        }
    }

    /// It ended, or could not be started.
    pub(super) fn ended(&mut self, id: u32, exit: protocol::Exit, error: Option<String>, clients: &mut [Client]) {
        let Some(at) = self.all.iter().position(|one| one.id == id) else { return };
        let one = self.all.remove(at);
        let Some(client) = clients.iter_mut().find(|client| client.id == one.client) else { return };
        let framed = match error {
            Some(message) => {
                let kind = ShimErrorKind::Invalid;
                let code = Some(exit.code).filter(|code| matches!(code, 126 | 127));
                let fault = ShimError { code, ..ShimError::new(kind, message) };
                frame_json(kind::ANSWER, &Answer::Err(fault))
            }
            None => {
                let (code, signal) = (exit.code, exit.signal);
                frame_json(kind::END, &ExitStatus { code, signal, error: one.killed, ..ExitStatus::default() })
            }
        };
        client.send(&framed.unwrap_or_default());
        client.done = true;
    }

    /// Whoever asked for it is gone: its stdin ends, and what it writes goes nowhere.
    pub(super) fn left(&mut self, client: u64, control: &mut Control) {
        if let Some(stdin) = self.by_client(client).and_then(|one| one.stdin.as_mut()) {
            stdin.close(control);
        }
    }

    /// The guest is gone, and they with it.
    pub(super) fn fail_all(&mut self, clients: &mut [Client]) {
        for one in self.all.drain(..) {
            let Some(client) = clients.iter_mut().find(|client| client.id == one.client) else { continue };
            let end = ExitStatus { code: 137, signal: Some(9), error: one.killed, ..ExitStatus::default() };
            client.send(&frame_json(kind::END, &end).unwrap_or_default());
        }
    }

    /// How long until the next one has to be killed.
    pub(super) fn until_deadline(&self) -> Option<Duration> {
        let deadlines = self.all.iter().filter_map(|one| one.deadline);
        deadlines.map(|(at, _)| at.saturating_duration_since(Instant::now())).min()
    }

    /// Kills those whose time is over.
    pub(super) fn kill_overdue(&mut self, control: &mut Control) {
        let now = Instant::now();
        for one in &mut self.all {
            let Some((_, after)) = one.deadline.filter(|(at, _)| *at <= now) else { continue };
            one.deadline = None;
            one.killed = Some(format!("it was killed after {after} ms"));
            control.tell(&Command::ExecSignal { id: one.id, number: 9 });
        }
    }
}

impl Executing {
    pub(super) fn give(&mut self, bytes: &[u8], control: &mut Control) {
        if let Some(stdin) = &mut self.stdin {
            stdin.give(bytes, control);
        }
    }

    pub(super) fn close(&mut self, control: &mut Control) {
        if let Some(stdin) = &mut self.stdin {
            stdin.close(control);
        }
    }

    pub(super) fn resize(&self, wanted: Size, control: &mut Control) {
        control.tell(&Command::ExecResize { id: self.id, size: size(wanted) });
    }
}

pub(super) fn size(size: Size) -> protocol::Size {
    protocol::Size { rows: size.rows, columns: size.columns }
}

/// A process as the guest is told of it.
fn process(process: Process, env: impl Iterator<Item = String>) -> protocol::Process {
    protocol::Process {
        args: process.arguments,
        env: env.collect(),
        user: process.user,
        groups: process.groups,
        cwd: Some(process.workdir).filter(|path| !path.is_empty()),
        terminal: process.tty,
        no_new_privileges: process.no_new_privileges,
        ..protocol::Process::default()
    }
}
