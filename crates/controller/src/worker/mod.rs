//! The one writer of a workload: a task that asks the state machine of [`crate::lifecycle`] for the next step, takes it, and applies the outcome.
//!
//! For: committing before and after each step, answering who waits, waking up in time. Not for: deciding (see `lifecycle`).

mod clock;
mod execute;
mod fetch;
mod follow;
mod gate;
mod image_check;
mod last_lines;
mod order;
mod pending;
mod progress;
mod signal;
mod snapshot;
mod timers;

use std::collections::VecDeque;
use std::sync::Arc;

use hythe_runtime::{Error, Feature, OpContext, Runtime, watched};
use hythe_store::{DesiredRecord, Life, ObservedRecord, Phase, Prerequisites, Transaction};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

use crate::Controller;
use crate::crash::Moment;
use crate::event::workload_event;
use crate::lifecycle::{self, Facts, Input, Next, Note, Step};
use crate::message::{Fetched, Message, Request, TakeSnapshot};
use crate::model::WorkloadState;
use crate::registry::WorkloadHandle;

/// Time between two tries to commit while the store cannot be written.
const STORE_AGAIN: Duration = Duration::from_secs(1);
/// Events kept in memory while the store cannot be written.
const UNSTORED: usize = 100;

/// The task of one workload.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) controller: Arc<Controller>,
    pub(crate) state: Arc<watched::Sender<WorkloadState>>,
    inbox: mpsc::UnboundedReceiver<Message>,
    /// Messages that came during a step and are for after it.
    heard: VecDeque<Message>,
    desires: watched::Receiver<WorkloadState>,
    /// What is known; ahead of the store while that cannot be written.
    observed: ObservedRecord,
    unstored: Vec<Note>,
    dirty: bool,
    /// The next try as the records say it, and when it is due whatever is done to the host's clock.
    due: Option<(Timestamp, Instant)>,
    request: Option<Request>,
    snapshots: VecDeque<TakeSnapshot>,
    own: mpsc::UnboundedSender<Message>,
    fetch: Option<fetch::Fetch>,
    fetched: VecDeque<Fetched>,
    gate: gate::DependencyWait,
    /// A dependency that was changed by a request and is not back yet.
    followed: Option<watched::Receiver<WorkloadState>>,
    /// One that must stop first.
    dependents: Option<watched::Receiver<WorkloadState>>,
    timers: timers::Timers,
}

impl Controller {
    /// Starts the task of a workload and makes it known.
    pub(crate) fn spawn_worker(
        self: &Arc<Self>,
        desired: DesiredRecord,
        observed: Option<ObservedRecord>,
    ) -> WorkloadHandle {
        let (handle, worker) = self.new_worker(desired, observed);
        self.spawn(worker.run());
        handle
    }

    /// Starts the tasks of all these workloads, once each is known to the others.
    pub(crate) fn spawn_workers(self: &Arc<Self>, workloads: Vec<(DesiredRecord, Option<ObservedRecord>)>) {
        let workers: Vec<Worker> =
            workloads.into_iter().map(|(desired, observed)| self.new_worker(desired, observed).1).collect();
        for worker in workers {
            self.spawn(worker.run());
        }
    }

    fn new_worker(
        self: &Arc<Self>,
        desired: DesiredRecord,
        observed: Option<ObservedRecord>,
    ) -> (WorkloadHandle, Worker) {
        let name = desired.name.clone();
        let observed = resumed(observed.unwrap_or_else(|| ObservedRecord::new(self.now())));
        let state = Arc::new(watched::channel(WorkloadState { desired, observed: observed.clone() }).0);
        let (sender, inbox) = mpsc::unbounded_channel();
        let worker = Worker {
            controller: self.clone(),
            desires: state.subscribe(),
            state: state.clone(),
            inbox,
            heard: VecDeque::new(),
            observed,
            unstored: Vec::new(),
            dirty: false,
            due: None,
            request: None,
            snapshots: VecDeque::new(),
            own: sender.clone(),
            fetch: None,
            fetched: VecDeque::new(),
            gate: gate::DependencyWait::default(),
            followed: None,
            dependents: None,
            timers: timers::Timers::new(sender.clone()),
        };
        let handle = WorkloadHandle { state, inbox: sender, request: 0 };
        self.registry.insert(name, handle.clone());
        (handle, worker)
    }
}

/// Whether the engine was still asked for an instance when the agent ended, only the engine knows.
pub(crate) fn resumed(mut observed: ObservedRecord) -> ObservedRecord {
    for instance in observed.current.iter_mut().chain(&mut observed.previous) {
        if instance.life == Life::Pending && instance.create_attempted {
            instance.life = Life::Unknown;
        }
    }
    observed
}

/// Another workload changes, or goes; never where none is watched.
async fn moved(watched: &mut Option<watched::Receiver<WorkloadState>>) {
    match watched {
        Some(watched) => drop(watched.changed().await),
        None => std::future::pending().await,
    }
}

impl Worker {
    async fn run(mut self) {
        loop {
            while let Some(message) = self.heard.pop_front().or_else(|| self.inbox.try_recv().ok()) {
                self.take(message);
            }
            self.take_withdrawal();
            if let Some(fetched) = self.fetched.pop_front() {
                self.end_fetch(fetched).await;
            }
            if let Some(snapshot) = self.snapshots.pop_front() {
                self.snapshot(snapshot).await;
                continue;
            }
            let next = self.decide();
            self.drop_fetch();
            // Looking is all that may be done while what is known is not stored.
            if !self.is_stored() && next != Next::Do(Step::Inspect) {
                self.rest(Some(Instant::now() + STORE_AGAIN)).await;
                continue;
            }
            self.update_prober();
            match next {
                Next::Do(step) => self.step(step).await,
                Next::Wait(until) => {
                    if let Some(message) = self.newer_request().await {
                        self.take(message);
                        continue;
                    }
                    self.answer_if_done();
                    let due = until.map(|until| self.moment(until));
                    let wake = due.into_iter().chain(self.timers.due()).min();
                    self.rest(wake).await;
                }
            }
            if self.observed.phase == Phase::Removing && self.controller.registry.get(&self.desired().name).is_none() {
                self.answer(Ok(()));
                return;
            }
        }
    }

    /// One step: its intent is committed already, its outcome is committed before the next.
    async fn step(&mut self, step: Step) {
        let desired = self.desired();
        self.report_step(step, &desired);
        if step == Step::Pull && self.fetches_beside(&desired) {
            return self.begin_fetch().await;
        }
        self.controller.pass_step(step, Moment::Intended).await;
        let outcome = self.execute(step, &desired).await;
        self.controller.pass_step(step, Moment::Acted).await;
        let outcome = self.ask_image(step, outcome).await;
        if let Err(error) = &outcome {
            tracing::debug!(workload = desired.name, step = step.name(), %error, "a step failed");
        }
        self.observe(Input::Ended(step, outcome));
        self.timers.stepped(step);
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
        let first_of_service = self.observed.prerequisites != Prerequisites::Complete && self.is_first_of_service();
        let dependent = self.dependent(&desired);
        let follow = self.follow(&desired);
        let facts = Facts { gate, follow, now: self.time(), first_of_service, dependent, ..self.facts(&down) };
        let next = lifecycle::plan_step(&desired, &mut observed, &facts, &mut notes);
        self.become_known(observed, notes);
        next
    }

    fn observe(&mut self, input: Input) {
        let desired = self.desired();
        let mut observed = self.observed.clone();
        let mut notes = Vec::new();
        let facts = self.facts(&[]);
        lifecycle::apply(&desired, &mut observed, input, &facts, &mut notes);
        self.become_known(observed, notes);
    }

    fn facts<'a>(&'a self, down: &'a [(String, String)]) -> Facts<'a> {
        Facts {
            now: self.controller.now(),
            boot: &self.controller.settings.boot,
            gate: lifecycle::DependencyGate::Open,
            follow: lifecycle::Follow::None,
            first_of_service: false,
            fetching: self.fetch.is_some(),
            dependent: None,
            runs_once: self.runs_once(),
            down,
        }
    }

    /// Where a runtime does not answer, nothing is started either.
    fn runs_once(&self) -> Vec<String> {
        let known = self.observed.current.iter().chain(&self.observed.previous);
        let runs_once = |name: &&String| {
            let runtime = self.controller.runtimes.get(name);
            runtime.is_ok_and(|runtime| !runtime.capability().supports(Feature::RestartInPlace))
        };
        known.map(|instance| &instance.runtime).filter(runs_once).cloned().collect()
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Asked(request) => self.supersede(request),
            Message::Engine(event) => self.observe(Input::Engine(event)),
            Message::Listed(rows) => {
                let (state, strays) = self.compare(&rows);
                self.observe(Input::Listed(state, strays));
                self.timers.listed();
            }
            Message::Lost(reason) => self.observe(Input::Lost(reason)),
            Message::Signalled(sent) => self.observe(Input::Signalled(sent)),
            Message::Drifted(reason) => self.observe(Input::Drifted(reason)),
            Message::Fetched(fetched) => self.fetched.push_back(fetched),
            Message::Snapshot(snapshot) => self.snapshots.push_back(snapshot),
            Message::Probed(id, result) => {
                if let Some((state, reason)) = self.probed(&id, result) {
                    self.observe(Input::Health(state, reason));
                }
            }
        }
    }

    /// What is known becomes this, is committed with its events, then shown.
    fn become_known(&mut self, observed: ObservedRecord, notes: Vec<Note>) {
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
        self.state.send_modify(|state| state.observed = self.observed.clone());
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
        let now = self.controller.now();
        let event = |note: &Note| {
            let time = note.time.unwrap_or(now);
            workload_event(time, &desired, note.kind, note.message.clone(), note.details.clone())
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
        // One that has gone has stopped.
        let stopped = moved(&mut self.dependents);
        let followed = moved(&mut self.followed);
        let message = tokio::select! {
            biased;
            message = self.inbox.recv() => message,
            () = stopped => None,
            () = followed => None,
            _ = self.desires.wait_for(|state| state.desired != desired) => None,
            () = withdrawn => None,
            () = self.gate.moved() => None,
            () = sleep => None,
        };
        if let Some(message) = message {
            self.take(message);
        } else if self.timers.is_due(self.observed.current.as_ref()) {
            self.observe(Input::Stale);
        }
    }

    pub(crate) fn desired(&self) -> DesiredRecord {
        self.state.borrow().desired.clone()
    }

    pub(crate) fn runtime(&self, name: &str) -> Result<Arc<dyn Runtime>, Error> {
        self.controller.runtimes.get(name)
    }

    fn context(&self) -> OpContext {
        let requested = self.request.as_ref().map(|request| request.operation.record().id);
        OpContext::new(requested.unwrap_or_else(|| self.desired().name))
    }
}
