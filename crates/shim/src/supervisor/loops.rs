//! One loop over everything that can happen to a container.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::event::{PollFd, PollFlags, poll};

use super::clients::{Client, Role};
use super::output::Stdio;
use super::prepare::{Prepared, prepare};
use super::{Network, Report, settle, tell_last};
use crate::creator::{Creator, Job, What, Words};
use crate::directory::Directory;
use crate::error::{Doing, Fault, FaultKind};
use crate::files::{Reserve, replace_json};
use crate::logs::{Stream, Writer};
use crate::namespace::Joined;
use crate::protocol::{frame, kind};
use crate::record::{End, Launch, Run};
use crate::supervisor::execs::Executing;

/// What is read at once.
const PIECE: usize = 64 << 10;
/// Room for the last record; an error in it may be long.
const RECORD: usize = 16 << 10;

/// A living shim.
pub(crate) struct Shim<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) launch: Launch,
    pub(crate) network: &'a mut dyn Network,
    pub(crate) run: Run,
    pub(crate) reserve: Option<Reserve>,
    pub(crate) prepared: Prepared,
    pub(crate) log: Writer,
    pub(crate) stdio: Stdio,
    pub(crate) clients: Vec<Client>,
    pub(crate) executing: Vec<Executing>,
    /// It is frozen for those who hold it, and not paused besides.
    pub(crate) held: bool,
    /// Ends of children that nobody has asked for yet.
    pub(crate) ends: HashMap<i32, End>,
    creator: Option<(Creator, Words, Option<UnixListener>)>,
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
    Creator,
    Executing(u64),
    Network,
}

/// From the first record to the last.
pub(super) fn live(
    directory: &Directory,
    launch: Launch,
    network: &mut dyn Network,
    joined: Option<&Joined>,
) -> Result<(), Fault> {
    let run = Run::starting();
    replace_json(&directory.run(), &run, true).doing("record the start")?;
    settle::clear(directory);
    let begun = Shim::begin(directory, &launch, network, joined, run.clone());
    let mut shim = match begun {
        Ok(shim) => shim,
        Err(fault) => {
            // What was connected before the fault is disconnected; what cannot be is found by a later look.
            let _ = network.detach(&launch);
            let _ = crate::cgroup::remove(&settle::groups(&launch));
            super::ends::record_fault(directory, run, None, &fault)?;
            return Err(fault);
        }
    };
    shim.turn_until_end()
}

impl<'a> Shim<'a> {
    fn begin(
        directory: &'a Directory,
        launch: &Launch,
        network: &'a mut dyn Network,
        joined: Option<&Joined>,
        run: Run,
    ) -> Result<Self, Fault> {
        let signals = block_signals()?;
        let log = Writer::open(&directory.logs(), launch.logs).doing("open the log")?;
        let prepared = prepare(directory, launch, network, joined)?;
        let reserve = Reserve::new(directory.at("run.next"), RECORD).doing("take room for the last record")?;
        let (_open, path) = directory.socket().doing("open the instance's directory")?;
        let listener = UnixListener::bind(path).doing("listen on the instance's socket")?;
        listener.set_nonblocking(true).doing("listen on the instance's socket")?;
        let (stdio, creator) = start_first(directory, launch, &prepared)?;
        let run = Run { network: prepared.network.clone(), ..run };
        Ok(Self {
            directory,
            launch: launch.clone(),
            network,
            run,
            reserve: Some(reserve),
            prepared,
            log,
            stdio,
            clients: Vec::new(),
            executing: Vec::new(),
            held: false,
            ends: HashMap::new(),
            creator: Some(creator),
            signals,
            listener,
            next_client: 0,
        })
    }

    fn turn_until_end(&mut self) -> Result<(), Fault> {
        let mut piece = vec![0; PIECE];
        loop {
            for ready in self.wait()? {
                self.handle(ready, &mut piece)?;
            }
            self.clients.retain(|client| !client.is_over());
            self.let_go();
            if self.creator.is_none()
                && let Some(end) = self.run.pid.and_then(|pid| self.ends.remove(&pid))
            {
                return self.end(end, &mut piece);
            }
        }
    }

    fn wait(&self) -> Result<Vec<Ready>, Fault> {
        let mut watched: Vec<(Ready, BorrowedFd<'_>, PollFlags)> = vec![
            (Ready::Signals, self.signals.as_fd(), PollFlags::IN),
            (Ready::Listener, self.listener.as_fd(), PollFlags::IN),
        ];
        watched.extend(self.stdio.sources().map(|(stream, fd)| (Ready::Output(stream), fd, PollFlags::IN)));
        watched.extend(self.stdio.blocked().map(|fd| (Ready::Stdin, fd, PollFlags::OUT)));
        watched.extend(self.creator.as_ref().map(|(one, ..)| (Ready::Creator, one.status.as_fd(), PollFlags::IN)));
        let making = self.executing.iter().filter_map(|one| Some((one.client, one.creator()?)));
        watched.extend(making.map(|(client, one)| (Ready::Executing(client), one.status.as_fd(), PollFlags::IN)));
        watched.extend(self.network.descriptor().map(|fd| (Ready::Network, fd, PollFlags::IN)));
        for client in &self.clients {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, self.stdio.takes_stdin() || client.role != (Role::Attached { stdin: true }));
            flags.set(PollFlags::OUT, client.is_behind());
            watched.push((Ready::Client(client.id), client.socket(), flags));
        }
        let mut fds: Vec<PollFd<'_>> =
            watched.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).doing("wait"),
        }
        let ready = watched.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|((ready, ..), _)| *ready).collect())
    }

    fn handle(&mut self, ready: Ready, piece: &mut [u8]) -> Result<(), Fault> {
        match ready {
            Ready::Signals => self.reap(),
            Ready::Listener => self.accept(),
            Ready::Output(stream) => {
                self.pass_on(stream, piece);
            }
            Ready::Stdin => self.stdio.flush(),
            Ready::Client(id) => self.serve(id),
            Ready::Creator => return self.hear_creator(),
            Ready::Executing(client) => self.hear_executing(client),
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
                Ok(WaitStatus::Exited(pid, code)) => (pid, End { code, ..End::default() }),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    let number = signal as i32;
                    (pid, End { code: 128 + number, signal: Some(number), ..End::default() })
                }
                Ok(WaitStatus::StillAlive) | Err(nix::Error::ECHILD) => break,
                Ok(_) | Err(_) => continue,
            };
            self.ends.insert(pid.as_raw(), end);
        }
        self.tell_ended();
        if self.creator.is_none() && self.executing.iter().all(|one| one.creator().is_none()) {
            let main = self.run.pid;
            self.ends.retain(|pid, _| Some(*pid) == main);
        }
    }

    fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            self.next_client += 1;
            // One that cannot be served is closed.
            self.clients.extend(Client::new(self.next_client, socket));
        }
    }

    fn hear_creator(&mut self) -> Result<(), Fault> {
        let Some((creator, words, _)) = &mut self.creator else { return Ok(()) };
        if !words.read(&creator.status) {
            return Ok(());
        }
        let Some((_creator, mut words, console)) = self.creator.take() else { return Ok(()) };
        let fault = match (words.verdict(), words.pid) {
            (Some(fault), _) => Some(fault),
            (None, None) => Some(Fault::new(FaultKind::Internal, "what makes the container died")),
            (None, Some(_)) => None,
        };
        let outcome = match fault {
            Some(fault) => Err(fault),
            None => console.map_or(Ok(()), |console| self.stdio.terminal(super::output::received(&console)?)),
        };
        match outcome {
            Ok(()) => self.started(words.pid),
            Err(fault) => {
                self.give_up(words.pid, &fault);
                Err(fault)
            }
        }
    }

    fn started(&mut self, pid: Option<i32>) -> Result<(), Fault> {
        self.run.pid = pid;
        self.run.cgroups = settle::groups(&self.launch);
        super::ends::record_start(self)?;
        tell_last(&Report::Done);
        self.reap();
        Ok(())
    }
}

fn block_signals() -> Result<SignalFd, Fault> {
    // What is not for the container's end comes from a terminal or a session that is none of ours.
    let mut blocked = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        blocked.add(signal);
    }
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None).doing("block signals")?;
    SignalFd::with_flags(&blocked, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).doing("receive signals")
}

type First = (Creator, Words, Option<UnixListener>);

fn start_first(directory: &Directory, launch: &Launch, prepared: &Prepared) -> Result<(Stdio, First), Fault> {
    let process = launch.process.clone();
    let (stdio, inside, console) = if process.tty {
        let path = directory.at("console.sock");
        let (_open, short) = directory.socket().doing("open the instance's directory")?;
        let listener = UnixListener::bind(short.with_file_name("console.sock")).doing("listen for the terminal")?;
        listener.set_nonblocking(true).doing("listen for the terminal")?;
        (Stdio::default(), None, Some((listener, path)))
    } else {
        let (stdio, inside) = Stdio::pipes(process.stdin)?;
        (stdio, Some(inside), None)
    };
    let (console, path) = console.unzip();
    let job = Job {
        id: launch.id.clone(),
        state: directory.at("engine"),
        what: What::First(prepared.bundle.clone()),
        process,
        guise: prepared.guise,
        stdio: inside,
        console: path,
    };
    Ok((stdio, (crate::creator::start(job)?, Words::default(), console)))
}
