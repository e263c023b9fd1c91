//! Ctrl-C and polite kills: the running tests are told, and the engines are still taken down.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::{Context, Failure, Result};

/// Listens until the process ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// How often we were asked to stop.
    asked: u32,
    /// The process groups of the tests running now.
    running: BTreeSet<i32>,
}

impl Interrupt {
    pub(crate) fn listen() -> Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context(|| "listening for signals".into())?;
        let interrupt = Self { state: Arc::default() };
        let told = interrupt.clone();
        thread::spawn(move || signals.forever().for_each(|_| told.ask()));
        Ok(interrupt)
    }

    /// Remembers a process group that is to be told.
    pub(crate) fn started(&self, group: Option<Pid>) {
        self.with(|state| state.running.extend(group.map(Pid::as_raw_pid)));
        if self.check().is_err() {
            self.tell();
        }
    }

    /// Its leader has ended.
    pub(crate) fn ended(&self, group: Option<Pid>) {
        self.with(|state| state.running.retain(|running| Some(*running) != group.map(Pid::as_raw_pid)));
    }

    /// An error once we were asked to stop.
    pub(crate) fn check(&self) -> Result<()> {
        if self.with(|state| state.asked) == 0 {
            return Ok(());
        }
        Err(Failure::new("interrupted"))
    }

    fn ask(&self) {
        self.with(|state| state.asked += 1);
        self.tell();
    }

    /// The second request is not polite any more.
    fn tell(&self) {
        let (asked, running) = self.with(|state| (state.asked, state.running.clone()));
        let signal = if asked > 1 { Signal::KILL } else { Signal::TERM };
        for group in running.into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process_group(group, signal);
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
