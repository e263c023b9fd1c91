//! The one writer of a workload: a task that asks the machine of [`crate::lifecycle`] what is next, does it, and tells it what came of it.
//!
//! For: committing before and after each step, answering who waits, waking up in time. Not for: deciding (see `lifecycle`).

mod gate;
mod instance;
mod keep;
mod perform;
mod tell;
mod watchdog;

use std::collections::VecDeque;
use std::sync::Arc;

use hythe_runtime::{Error, Event, InstanceId, Listed, OpContext, Runtime};
use hythe_store::{DesiredRecord, Life, NewEvent, ObservedRecord, Phase, Supply, Transaction};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Duration, Instant};

use crate::crash::Moment;
use crate::directory::{Cell, Handle};
use crate::event::workload_event;
use crate::lifecycle::{self, Facts, Input, Next, Note, Step};
use crate::{Controller, OperationHandle};

pub(crate) use instance::{is_same, reference, with_details};
pub(crate) use keep::Keep;

type Reply = oneshot::Sender<Result<(), Error>>;

/// Time between two tries to commit while the store cannot be written.
const STORE_AGAIN: Duration = Duration::from_secs(1);
/// Events kept in memory while the store cannot be written.
const UNSTORED: usize = 100;
/// A clock that is set back does not make a workload wait longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What a workload's task is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// Something else is desired; somebody waits until it is true.
    Asked(Request),
    /// Its engine reported something about one of its instances.
    Engine(Event),
    /// Its engine (again) answers and has these instances of it.
    Listed(Vec<Listed>),
    /// Its engine no longer answers.
    Lost(String),
    /// A probe of this instance had this result.
    Probed(InstanceId, Result<(), String>),
    /// It was found to differ from what is desired, in these fields.
    Drifted(String),
    /// The files of its current instance are to be kept.
    Keep(Keep),
}

/// Someone who waits for the outcome.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) operation: Arc<OperationHandle>,
    pub(crate) reply: Reply,
}

/// The task of one workload.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) controller: Arc<Controller>,
    pub(crate) cell: Arc<watch::Sender<Cell>>,
    inbox: mpsc::UnboundedReceiver<Message>,
    desires: watch::Receiver<Cell>,
    /// What is known; ahead of the store while that cannot be written.
    observed: ObservedRecord,
    unstored: Vec<Note>,
    dirty: bool,
    /// The next try as the records say it, and when it is due whatever is done to the machine's clock.
    due: Option<(Timestamp, Instant)>,
    request: Option<Request>,
    keeps: VecDeque<Keep>,
    gate: gate::Patience,
    watchdog: watchdog::Watchdog,
}

impl Controller {
    /// Starts the task of a workload and makes it known.
    pub(crate) fn spawn_worker(self: &Arc<Self>, desired: DesiredRecord, observed: Option<ObservedRecord>) -> Handle {
        let name = desired.name.clone();
        let observed = resumed(observed.unwrap_or_else(|| ObservedRecord::new(self.now())));
        let cell = Arc::new(watch::channel(Cell { desired, observed: observed.clone() }).0);
        let (sender, inbox) = mpsc::unbounded_channel();
        let worker = Worker {
            controller: self.clone(),
            desires: cell.subscribe(),
            cell: cell.clone(),
            inbox,
            observed,
            unstored: Vec::new(),
            dirty: false,
            due: None,
            request: None,
            keeps: VecDeque::new(),
            gate: gate::Patience::default(),
            watchdog: watchdog::Watchdog::new(sender.clone()),
        };
        let handle = Handle { cell, inbox: sender };
        self.directory.insert(name, handle.clone());
        self.spawn(worker.run());
        handle
    }
}

/// Whether the engine was still asked for an instance when the agent ended, only the engine knows.
pub(crate) fn resumed(mut observed: ObservedRecord) -> ObservedRecord {
    for instance in observed.current.iter_mut().chain(&mut observed.previous) {
        if instance.life == Life::Intended && instance.tried {
            instance.life = Life::Unknown;
        }
    }
    observed
}

impl Worker {
    async fn run(mut self) {
        loop {
            while let Ok(message) = self.inbox.try_recv() {
                self.take(message);
            }
            self.take_withdrawal();
            if let Some(keep) = self.keeps.pop_front() {
                self.keep(keep).await;
                continue;
            }
            let next = self.decide();
            // Looking is all that may be done while what is known is not stored.
            if !self.is_stored() && next != Next::Do(Step::Look) {
                self.rest(Some(Instant::now() + STORE_AGAIN)).await;
                continue;
            }
            self.watch_over();
            match next {
                Next::Do(step) => self.step(step).await,
                Next::Wait(until) => {
                    self.answer_if_done();
                    let due = until.map(|until| self.moment(until));
                    let wake = due.into_iter().chain(self.watchdog.due()).min();
                    self.rest(wake).await;
                }
            }
            if self.observed.phase == Phase::Removing && self.controller.directory.get(&self.desired().name).is_none() {
                self.answer(Ok(()));
                return;
            }
        }
    }

    /// One step: its intent is committed already, its outcome is committed before the next.
    async fn step(&mut self, step: Step) {
        let desired = self.desired();
        self.tell_step(step, &desired);
        self.controller.pass_step(step, Moment::Intended).await;
        let outcome = self.perform(step, &desired).await;
        self.controller.pass_step(step, Moment::Acted).await;
        if let Err(error) = &outcome {
            tracing::debug!(workload = desired.name, step = step.name(), %error, "a step failed");
        }
        self.observe(Input::Ended(step, outcome));
        self.watchdog.stepped(step);
        if self.is_stored() {
            self.controller.pass_step(step, Moment::Stored).await;
        }
    }

    fn decide(&mut self) -> Next {
        let desired = self.desired();
        let mut notes = Vec::new();
        let (gate, warnings) = self.gate(&desired);
        notes.extend(warnings);
        let mut observed = self.observed.clone();
        let down = self.controller.runtimes.down();
        let first_of_service = self.observed.supply != Supply::Complete && self.is_first_of_service();
        let facts = Facts { gate, now: self.time(), first_of_service, ..self.facts(&down) };
        let next = lifecycle::decide(&desired, &mut observed, &facts, &mut notes);
        self.become_(observed, notes);
        next
    }

    fn observe(&mut self, input: Input) {
        let desired = self.desired();
        let mut observed = self.observed.clone();
        let mut notes = Vec::new();
        let facts = self.facts(&[]);
        lifecycle::observe(&desired, &mut observed, input, &facts, &mut notes);
        self.become_(observed, notes);
    }

    fn facts<'a>(&'a self, down: &'a [(String, String)]) -> Facts<'a> {
        Facts {
            now: self.controller.now(),
            boot: &self.controller.settings.boot,
            gate: lifecycle::Gate::Open,
            first_of_service: false,
            down,
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Asked(request) => self.supersede(request),
            Message::Engine(event) => self.observe(Input::Engine(event)),
            Message::Listed(rows) => {
                let (state, strays) = self.compare(&rows);
                self.observe(Input::Listed(state, strays));
                self.watchdog.listed();
            }
            Message::Lost(reason) => self.observe(Input::Lost(reason)),
            Message::Drifted(reason) => self.observe(Input::Drifted(reason)),
            Message::Keep(keep) => self.keeps.push_back(keep),
            Message::Probed(id, result) => {
                if let Some((state, reason)) = self.probed(&id, result) {
                    self.observe(Input::Health(state, reason));
                }
            }
        }
    }

    /// What is known becomes this, is committed with its events, then shown.
    fn become_(&mut self, observed: ObservedRecord, notes: Vec<Note>) {
        if observed == self.observed && notes.is_empty() {
            return;
        }
        self.report(&observed, &notes);
        self.observed = ObservedRecord { updated: self.controller.now(), ..observed };
        self.unstored.extend(notes);
        let surplus = self.unstored.len().saturating_sub(UNSTORED);
        self.unstored.drain(..surplus);
        self.dirty = true;
        self.store();
        self.cell.send_modify(|cell| cell.observed = self.observed.clone());
    }

    /// Whether what is known is committed; without that nothing is done.
    fn is_stored(&mut self) -> bool {
        if self.dirty {
            self.store();
        }
        !self.dirty
    }

    fn store(&mut self) {
        let desired = self.desired();
        let event = |note: &Note| {
            let event = workload_event(&desired, note.kind, note.message.clone(), note.details.clone());
            NewEvent { time: note.time.unwrap_or(event.time), ..event }
        };
        let changes = Transaction {
            observed: Some((desired.name.clone(), self.observed.clone())),
            events: self.unstored.iter().map(event).collect(),
            ..Transaction::default()
        };
        match self.controller.events.commit(&changes) {
            Ok(()) => {
                self.unstored.clear();
                self.dirty = false;
            }
            Err(error) => {
                tracing::warn!(workload = desired.name, %error, "what is known was not stored; nothing is done until it is");
            }
        }
    }

    /// Sleeps until something is heard of, something else is desired, a dependency moves, or the time has come.
    async fn rest(&mut self, until: Option<Instant>) {
        self.desires.mark_unchanged();
        let desired = self.desired();
        let cancelled = self.request.as_ref().map(|request| request.operation.context().cancel);
        let sleep = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let withdrawn = async {
            match cancelled {
                Some(cancel) => cancel.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let message = tokio::select! {
            biased;
            message = self.inbox.recv() => message,
            _ = self.desires.wait_for(|cell| cell.desired != desired) => None,
            () = withdrawn => None,
            () = self.gate.moved() => None,
            () = sleep => None,
        };
        if let Some(message) = message {
            self.take(message);
        } else if self.watchdog.is_due(self.observed.current.as_ref()) {
            self.observe(Input::Stale);
        }
    }

    /// The time, and at least that of a try whose wait is over.
    fn time(&self) -> Timestamp {
        let now = self.controller.now();
        match self.due {
            Some((at, due)) if self.observed.next_try == Some(at) && Instant::now() >= due => now.max(at),
            _ => now,
        }
    }

    /// A time of the records as one of this process, near whatever the machine's clock says, and the same as long as it is waited for.
    fn moment(&mut self, at: Timestamp) -> Instant {
        match self.due {
            Some((known, due)) if known == at => due,
            _ => {
                let wait = Duration::try_from(at.duration_since(self.controller.now())).unwrap_or_default();
                let due = Instant::now() + wait.min(LONGEST_WAIT);
                self.due = Some((at, due));
                due
            }
        }
    }

    pub(crate) fn desired(&self) -> DesiredRecord {
        self.cell.borrow().desired.clone()
    }

    pub(crate) fn runtime(&self, name: &str) -> Result<Arc<dyn Runtime>, Error> {
        self.controller.runtimes.get(name)
    }

    fn context(&self) -> OpContext {
        let requested = self.request.as_ref().map(|request| request.operation.record().id);
        OpContext::new(requested.unwrap_or_else(|| self.desired().name))
    }
}
