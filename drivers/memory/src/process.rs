//! Processes: who they are, the signals they get, and one run of an instance's main process.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hythe_runtime::TerminalSize;
use hythe_runtime::watched;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(crate) const KILL: u8 = 9;
/// Signals whose default action ends nothing: CHLD, CONT, URG, WINCH, and the stopping ones, which we do not play.
const HARMLESS: [u8; 8] = [17, 18, 19, 20, 21, 22, 23, 28];

#[derive(Debug, Default)]
struct Letters {
    handled: BTreeSet<u8>,
    ignored: BTreeSet<u8>,
    pending: VecDeque<u8>,
}

/// The signals of one process.
#[derive(Debug)]
pub(crate) struct Mailbox {
    /// The kernel gives pid 1 no signal that it has no handler for, but KILL from outside.
    is_init: bool,
    letters: Mutex<Letters>,
    arrived: Notify,
    fatal: watched::Sender<Option<u8>>,
}

impl Mailbox {
    pub(crate) fn new(is_init: bool) -> Arc<Self> {
        let fatal = watched::Sender::new(None);
        Arc::new(Self { is_init, letters: Mutex::default(), arrived: Notify::new(), fatal })
    }

    fn letters(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A signal from a process in the same instance: pid 1 is safe from KILL too.
    pub(crate) fn deliver_inside(&self, signal: u8) {
        if !(self.is_init && signal == KILL) {
            self.deliver(signal);
        }
    }

    /// A signal from outside.
    pub(crate) fn deliver(&self, signal: u8) {
        let mut letters = self.letters();
        if signal == KILL {
            self.fatal.send_replace(Some(signal));
        } else if letters.handled.contains(&signal) {
            letters.pending.push_back(signal);
            self.arrived.notify_waiters();
        } else if !self.is_init && !letters.ignored.contains(&signal) && !HARMLESS.contains(&signal) {
            self.fatal.send_replace(Some(signal));
        }
    }

    pub(crate) fn handle(&self, signal: u8) {
        let mut letters = self.letters();
        letters.ignored.remove(&signal);
        letters.handled.insert(signal);
    }

    pub(crate) fn ignore(&self, signal: u8) {
        let mut letters = self.letters();
        letters.handled.remove(&signal);
        letters.ignored.insert(signal);
    }

    pub(crate) fn default_action(&self, signal: u8) {
        let mut letters = self.letters();
        letters.handled.remove(&signal);
        letters.ignored.remove(&signal);
    }

    pub(crate) fn take(&self) -> Option<u8> {
        self.letters().pending.pop_front()
    }

    /// Resolves when a handled signal is pending.
    pub(crate) async fn pending(&self) {
        loop {
            let arrived = self.arrived.notified();
            if !self.letters().pending.is_empty() {
                return;
            }
            arrived.await;
        }
    }

    /// The signal that ended the process, if one did.
    pub(crate) fn died_of(&self) -> Option<u8> {
        *self.fatal.borrow()
    }

    /// Resolves when the process must die, with the signal.
    pub(crate) async fn fatal(&self) -> u8 {
        let mut fatal = self.fatal.subscribe();
        match fatal.wait_for(Option::is_some).await {
            Ok(signal) => signal.unwrap_or(KILL),
            Err(_) => KILL,
        }
    }
}

/// One run of an instance: from its start to the end of its main process.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) main: Arc<Mailbox>,
    processes: Mutex<BTreeMap<u32, Arc<Mailbox>>>,
    next_pid: Mutex<u32>,
    frozen: watched::Sender<bool>,
    /// Every process of the instance ends.
    pub(crate) ending: CancellationToken,
    /// The engine has recorded the end.
    pub(crate) ended: CancellationToken,
    pub(crate) terminal: watched::Sender<TerminalSize>,
}

impl Run {
    /// A run whose main process is pid 1, unless there is an init before it.
    pub(crate) fn new(init: bool) -> Arc<Self> {
        let main = Mailbox::new(!init);
        let pid = if init { 2 } else { 1 };
        Arc::new(Self {
            processes: Mutex::new(BTreeMap::from([(pid, Arc::clone(&main))])),
            main,
            next_pid: Mutex::new(pid + 1),
            frozen: watched::Sender::new(false),
            ending: CancellationToken::new(),
            ended: CancellationToken::new(),
            terminal: watched::Sender::new(TerminalSize { columns: 80, rows: 24 }),
        })
    }

    fn processes(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<Mailbox>>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn main_pid(&self) -> u32 {
        let main = self.processes().iter().find(|(_, mailbox)| Arc::ptr_eq(mailbox, &self.main)).map(|(pid, _)| *pid);
        main.unwrap_or(1)
    }

    /// A new process of this run.
    pub(crate) fn enter(&self) -> (u32, Arc<Mailbox>) {
        let mut next = self.next_pid.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = *next;
        *next += 1;
        let mailbox = Mailbox::new(false);
        self.processes().insert(pid, Arc::clone(&mailbox));
        (pid, mailbox)
    }

    pub(crate) fn leave(&self, pid: u32) {
        self.processes().remove(&pid);
    }

    pub(crate) fn process(&self, pid: u32) -> Option<Arc<Mailbox>> {
        self.processes().get(&pid).cloned()
    }

    pub(crate) fn count(&self) -> u64 {
        self.processes().len() as u64
    }

    pub(crate) fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }

    /// Waits until the instance is not frozen, and lets others run.
    pub(crate) async fn gate(&self) {
        let mut frozen = self.frozen.subscribe();
        if frozen.wait_for(|frozen| !frozen).await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
    }
}
