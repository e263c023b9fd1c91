//! The one writer of a workload: a task that is told what happened and acts.
//!
//! ```text
//!            deploy / start                    runs, no probe or healthy
//!   pending ----------------> (pulling) starting ------------------------> running <-> paused
//!      ^                          |                                        |   |
//!      |  engine back             | cannot start, unhealthy      ended     |   | stop
//!   unknown <- engine lost        v                                        v   v
//!                           failed / rolled back          restarting | completed | failed   stopping -> stopped
//!                                                              \__ after back-off: starting
//! ```
//!
//! From every state a deploy, stop or undeploy leads on; an explicit stop is committed before anything else and beats every policy.

use std::sync::Arc;
use std::time::Duration;

use hythe_runtime::{
    Error, ErrorKind, Event, EventKind, InstanceId, Listed, Observed, OpContext, Runtime, State,
    Stop,
};
use hythe_store::{
    Desired, DesiredRecord, ExitRecord, HealthState, InstanceRecord, NewEvent, ObservedRecord,
    Phase, Transaction,
};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};

use crate::directory::{Cell, Handle};
use crate::event::workload_event;
use crate::health::{Prober, Tracker};
use crate::policy::{self, Next};
use crate::{Controller, OperationHandle};

type Reply = oneshot::Sender<Result<(), Error>>;

/// What a workload's task is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// A user wants what is desired to become true now.
    Converge(Request),
    /// A user wants the main process to be started anew.
    Restart(Request),
    /// Its engine reported something about one of its instances.
    Engine(Event),
    /// Its engine (again) answers and has these instances of it.
    Listed(Vec<Listed>),
    /// Its engine no longer answers.
    Lost(String),
    /// A probe of this instance had this result.
    Probed(InstanceId, Result<(), String>),
    /// Details of the current instance are to be read.
    Refresh,
}

/// Someone who waits for the outcome.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) operation: Arc<OperationHandle>,
    pub(crate) reply: Reply,
}

/// Whether the task has more to do.
#[derive(Debug, PartialEq, Eq)]
enum Flow {
    Goes,
    Ends,
}

/// The task of one workload.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) controller: Arc<Controller>,
    pub(crate) cell: Arc<watch::Sender<Cell>>,
    inbox: mpsc::UnboundedReceiver<Message>,
    /// Who waits for the current bring-up.
    pub(crate) request: Option<Request>,
    /// The current instance was started and must still prove healthy.
    pub(crate) unproven: bool,
    prober: Option<Prober>,
    tracker: Tracker,
}

impl Controller {
    /// Starts the task of a workload and makes it known.
    pub(crate) fn spawn_worker(
        self: &Arc<Self>,
        desired: DesiredRecord,
        observed: Option<ObservedRecord>,
    ) -> Handle {
        let name = desired.name.clone();
        let observed = observed.unwrap_or_else(|| ObservedRecord::new(Timestamp::now()));
        let unproven = observed.previous.is_some();
        let cell = Arc::new(watch::channel(Cell { desired, observed }).0);
        let (sender, inbox) = mpsc::unbounded_channel();
        let worker = Worker {
            controller: self.clone(),
            cell: cell.clone(),
            inbox,
            request: None,
            unproven,
            prober: None,
            tracker: Tracker::default(),
        };
        let handle = Handle {
            cell,
            inbox: sender,
        };
        self.directory.insert(name, handle.clone());
        tokio::spawn(worker.run());
        handle
    }
}

impl Worker {
    async fn run(mut self) {
        loop {
            let wake = self.observed().next_try;
            let message = tokio::select! {
                message = self.inbox.recv() => match message {
                    Some(message) => Some(message),
                    None => return,
                },
                () = until(wake) => None,
            };
            if self.take(message).await == Flow::Ends {
                return;
            }
        }
    }

    async fn take(&mut self, message: Option<Message>) -> Flow {
        match message {
            None => return self.converge().await,
            Some(Message::Converge(request)) => {
                self.supersede(request);
                return self.converge().await;
            }
            Some(Message::Restart(request)) => {
                self.supersede(request);
                let outcome = self.restart_current().await;
                self.settle(outcome).await;
            }
            Some(Message::Engine(event)) => return self.on_engine(event).await,
            Some(Message::Listed(listed)) => return self.on_listed(listed).await,
            Some(Message::Lost(reason)) => self.on_lost(&reason),
            Some(Message::Probed(id, result)) => self.on_probed(&id, result).await,
            Some(Message::Refresh) => self.refresh().await,
        }
        Flow::Goes
    }

    pub(crate) fn desired(&self) -> DesiredRecord {
        self.cell.borrow().desired.clone()
    }

    pub(crate) fn observed(&self) -> ObservedRecord {
        self.cell.borrow().observed.clone()
    }

    pub(crate) fn runtime(&self, name: &str) -> Result<Arc<dyn Runtime>, Error> {
        self.controller.runtimes.get(name)
    }

    /// Context of the request that waits; without one, or once it was withdrawn, of the workload itself: undoing must go on.
    pub(crate) fn context(&self) -> OpContext {
        let requested = self
            .request
            .as_ref()
            .map(|request| request.operation.context());
        requested
            .filter(|context| !context.cancel.is_cancelled())
            .unwrap_or_else(|| OpContext::new(self.desired().name))
    }

    pub(crate) fn phase(&self, phase: &'static str, message: impl Into<String>) {
        if let Some(request) = &self.request {
            request
                .operation
                .phase(&self.desired().name, phase, message);
        }
    }

    /// Commits a change of what is known, with its events, then shows it.
    pub(crate) fn update(
        &self,
        events: Vec<NewEvent>,
        change: impl FnOnce(&mut ObservedRecord),
    ) -> Result<(), Error> {
        let mut observed = self.observed();
        let before = observed.clone();
        change(&mut observed);
        if observed == before && events.is_empty() {
            return Ok(());
        }
        observed.updated = Timestamp::now();
        let name = self.desired().name;
        let changes = Transaction {
            observed: Some((name, observed.clone())),
            events,
            ..Transaction::default()
        };
        self.controller
            .events
            .commit(&changes)
            .map_err(crate::store_error)?;
        self.cell.send_modify(|cell| cell.observed = observed);
        Ok(())
    }

    /// As [`Worker::update`] where nothing depends on the change: a store that fails is logged, the state is shown all the same.
    pub(crate) fn note(&self, events: Vec<NewEvent>, change: impl Fn(&mut ObservedRecord)) {
        if let Err(error) = self.update(events, &change) {
            tracing::warn!(workload = self.desired().name, %error, "a state was not stored");
            self.cell.send_modify(|cell| change(&mut cell.observed));
        }
    }

    pub(crate) fn event(
        &self,
        kind: &str,
        message: impl Into<String>,
        details: serde_json::Value,
    ) -> NewEvent {
        workload_event(&self.desired(), kind, message, details)
    }

    fn supersede(&mut self, request: Request) {
        if let Some(earlier) = self.request.replace(request) {
            let error = Error::new(
                ErrorKind::Cancelled,
                "converge",
                "a newer request took its place",
            );
            let _ = earlier.reply.send(Err(error));
        }
    }

    /// Ends the request, if any, with this outcome.
    pub(crate) fn answer(&mut self, outcome: Result<(), Error>) {
        if let Some(request) = self.request.take() {
            let _ = request.reply.send(outcome);
        }
    }

    /// Makes what is desired true, unless something newer is desired meanwhile or the request is withdrawn.
    async fn converge(&mut self) -> Flow {
        let desired = self.desired();
        let mut cell = self.cell.subscribe();
        let cancel = self
            .request
            .as_ref()
            .map(|request| request.operation.context().cancel)
            .unwrap_or_default();
        let outcome = tokio::select! {
            biased;
            _ = cell.wait_for(|cell| cell.desired != desired) => Err(Error::new(ErrorKind::Cancelled, "converge", "a newer request took its place")),
            () = cancel.cancelled() => Err(Error::new(ErrorKind::Cancelled, "converge", "cancelled")),
            outcome = self.act(&desired) => outcome,
        };
        if desired.desired == Desired::Removed && outcome.is_ok() {
            self.answer(Ok(()));
            return Flow::Ends;
        }
        self.settle(outcome).await;
        Flow::Goes
    }

    async fn act(&mut self, desired: &DesiredRecord) -> Result<(), Error> {
        match desired.desired {
            Desired::Running => self.bring_up().await,
            Desired::Stopped => self.stop_all(Phase::Stopped).await,
            Desired::Removed => self.remove_all().await,
        }
    }

    /// Draws the conclusion of an attempt to converge.
    async fn settle(&mut self, outcome: Result<(), Error>) {
        match outcome {
            Ok(()) if self.unproven => {}
            Ok(()) => self.answer(Ok(())),
            Err(error) if self.superseded(&error) => self.answer(Err(error)),
            Err(error) if error.is_temporary() => self.try_later(error),
            Err(error) => self.fail(error).await,
        }
    }

    /// A newer request waits in the inbox: whatever this one left behind is its business.
    fn superseded(&self, error: &Error) -> bool {
        error.kind() == ErrorKind::Cancelled && error.message() != "cancelled"
    }

    fn try_later(&mut self, error: Error) {
        let failures = self.observed().failures.saturating_add(1);
        let wait = policy::delay(failures);
        self.note(Vec::new(), |observed| {
            observed.phase = if error.kind() == ErrorKind::Unavailable {
                Phase::Unknown
            } else {
                Phase::Restarting
            };
            observed.message = Some(error.message().to_owned());
            observed.failures = failures;
            observed.next_try = Some(Timestamp::now() + wait);
        });
        self.answer(Err(error));
    }

    async fn on_engine(&mut self, event: Event) -> Flow {
        let Some(current) = self.observed().current else {
            return Flow::Goes;
        };
        if !is_same(&current, &event.id, event.name.as_deref()) {
            return Flow::Goes;
        }
        let running = self.desired().desired == Desired::Running;
        match event.kind {
            EventKind::Stopped { exit } => self.on_stopped(exit_of(exit), event.time).await,
            EventKind::Removed if running => {
                self.stop_probing();
                let event = self.event(
                    "drift",
                    "the instance was removed by hand",
                    json!({ "instance": current.name }),
                );
                self.note(vec![event], |observed| {
                    observed.current = None;
                    observed.phase = Phase::Pending;
                    observed.message = Some("the instance was removed by hand".to_owned());
                    observed.next_try = Some(Timestamp::now() + policy::delay(1));
                });
            }
            EventKind::Started if running => self.refresh().await,
            EventKind::Paused => self.note(vec![self.event("paused", "paused", json!({}))], |o| {
                o.phase = Phase::Paused
            }),
            EventKind::Unpaused => self
                .note(vec![self.event("started", "unpaused", json!({}))], |o| {
                    o.phase = Phase::Running
                }),
            EventKind::OutOfMemory
            | EventKind::Created
            | EventKind::Started
            | EventKind::Removed
            | EventKind::Signalled { .. }
            | EventKind::Updated { .. }
            | EventKind::Image { .. } => {}
        }
        Flow::Goes
    }

    /// The main process of the current instance ended.
    async fn on_stopped(&mut self, exit: ExitRecord, at: Timestamp) {
        let observed = self.observed();
        let handled = !matches!(
            observed.phase,
            Phase::Running | Phase::Starting | Phase::Paused | Phase::Unknown
        );
        if handled || self.desired().desired != Desired::Running {
            return;
        }
        self.stop_probing();
        let (exit, alive) = self.true_exit(exit, at).await;
        if alive {
            return;
        }
        let ran = observed
            .current
            .as_ref()
            .and_then(|current| current.started)
            .map_or(Duration::ZERO, |started| {
                Duration::try_from(at.duration_since(started)).unwrap_or_default()
            });
        let failures = if ran >= policy::STABLE {
            1
        } else {
            observed.failures.saturating_add(1)
        };
        let next = policy::after_exit(self.desired().recipe.component.restart, exit.code, failures);
        self.conclude(next, failures, exit).await;
    }

    async fn conclude(&mut self, next: Next, failures: u32, exit: ExitRecord) {
        let cause = describe_exit(&exit);
        if self.unproven {
            let error = Error::new(
                ErrorKind::Conflict,
                "start",
                format!("`{}` {cause}", self.desired().name),
            );
            self.note(Vec::new(), |observed| observed.exit = Some(exit.clone()));
            if self.observed().previous.is_some() || !matches!(next, Next::Restart(_)) {
                return self.fail(error).await;
            }
            self.unproven = false;
            self.answer(Err(error));
        }
        let now = Timestamp::now();
        let (phase, kind, message, next_try) = match next {
            Next::Complete => (Phase::Completed, "completed", cause, None),
            Next::Fail => (Phase::Failed, "failed", cause, None),
            Next::Restart(wait) => {
                let message = format!("{cause}, next start in {} s", wait.as_secs());
                (Phase::Restarting, "restarting", message, Some(now + wait))
            }
        };
        let event = self.event(kind, message.clone(), json!({ "exit": exit }));
        self.note(vec![event], |observed| {
            observed.phase = phase;
            observed.health = HealthState::None;
            observed.message = Some(message.clone());
            observed.exit = Some(exit.clone());
            observed.failures = failures;
            observed.next_try = next_try;
        });
    }

    /// What the engine says of the end, which knows more than its event; also whether the process runs again already.
    async fn true_exit(&self, exit: ExitRecord, at: Timestamp) -> (ExitRecord, bool) {
        match self.inspect_current().await {
            Ok(Some(seen)) if seen.state == State::Running => (exit, true),
            Ok(Some(seen)) => (exit_record(&seen).unwrap_or(exit), false),
            _ => (
                ExitRecord {
                    at: exit.at.or(Some(at)),
                    ..exit
                },
                false,
            ),
        }
    }

    async fn on_listed(&mut self, listed: Vec<Listed>) -> Flow {
        let observed = self.observed();
        self.remove_strays(&listed).await;
        let Some(current) = observed.current else {
            return self.converge_if_wanted().await;
        };
        let seen = listed
            .iter()
            .find(|row| is_same(&current, &row.id, Some(&row.name)));
        match (self.desired().desired, seen) {
            (Desired::Running, Some(row)) if row.state == State::Running => {
                self.refresh().await;
                self.prove_again();
            }
            (Desired::Running, Some(row))
                if row.state == State::Exited && observed.phase != Phase::Restarting =>
            {
                let settled = matches!(observed.phase, Phase::Completed | Phase::Failed);
                if !settled {
                    let exit = hythe_runtime::Exit::from_code(row.exit_code.unwrap_or_default());
                    self.note(Vec::new(), |observed| observed.phase = Phase::Running);
                    self.on_stopped(exit_of(exit), Timestamp::now()).await;
                }
            }
            (Desired::Stopped, Some(row)) if row.state == State::Exited => {
                self.note(Vec::new(), |observed| observed.phase = Phase::Stopped);
            }
            _ => return self.converge_if_wanted().await,
        }
        Flow::Goes
    }

    /// After a restart of the agent in the middle of a replacement: the new instance must still prove itself.
    fn prove_again(&mut self) {
        self.unproven = self.observed().previous.is_some();
    }

    /// What has ended for good is not tried again because an engine came back.
    async fn converge_if_wanted(&mut self) -> Flow {
        let observed = self.observed();
        let settled = matches!(observed.phase, Phase::Completed | Phase::Failed)
            && self.desired().desired == Desired::Running;
        if settled || (observed.phase == Phase::Stopped && observed.current.is_none()) {
            return Flow::Goes;
        }
        self.converge().await
    }

    fn on_lost(&mut self, reason: &str) {
        self.stop_probing();
        if matches!(
            self.observed().phase,
            Phase::Running | Phase::Paused | Phase::Starting | Phase::Stopping
        ) {
            self.note(Vec::new(), |observed| {
                observed.phase = Phase::Unknown;
                observed.health = HealthState::None;
                observed.message = Some(format!("the runtime does not answer: {reason}"));
            });
        }
    }

    async fn on_probed(&mut self, id: &InstanceId, result: Result<(), String>) {
        let current = self.observed().current.and_then(|current| current.id);
        let Some(health) = self.desired().recipe.component.health else {
            return;
        };
        if current.as_deref() != Some(&id.0)
            || !matches!(self.observed().phase, Phase::Running | Phase::Starting)
        {
            return;
        }
        let Some((state, message)) = self.tracker.take(&health, result) else {
            return;
        };
        let kind = if state == HealthState::Healthy {
            "ready"
        } else {
            "unhealthy"
        };
        let event = self.event(
            kind,
            message.clone().unwrap_or_else(|| "healthy".to_owned()),
            json!({}),
        );
        self.note(vec![event], |observed| {
            observed.health = state;
            observed.message.clone_from(&message);
        });
        match state {
            HealthState::Healthy => self.proven().await,
            HealthState::Unhealthy if self.unproven => {
                let reason = message.unwrap_or_default();
                let text = format!("`{}` is not healthy: {reason}", self.desired().name);
                self.fail(Error::new(ErrorKind::Conflict, "health", text))
                    .await;
            }
            HealthState::Unhealthy if health.on_failure == hythe_spec::OnFailure::Restart => {
                let outcome = self.restart_current().await;
                self.note(Vec::new(), |observed| observed.restarts += 1);
                self.settle(outcome).await;
            }
            HealthState::Unhealthy | HealthState::Starting | HealthState::None => {}
        }
    }

    /// The current instance is good: what it replaced goes, who waits is told.
    pub(crate) async fn proven(&mut self) {
        if self.observed().current.is_none_or(|current| current.proven) {
            return;
        }
        self.unproven = false;
        self.phase("healthy", "healthy");
        if let Err(error) = self.retire_previous().await {
            tracing::warn!(workload = self.desired().name, %error, "the replaced instance was not removed yet");
        }
        self.note(Vec::new(), |observed| observed.failures = 0);
        self.answer(Ok(()));
    }

    /// Reads pid, addresses and ports of the current instance and starts its probes.
    pub(crate) async fn refresh(&mut self) {
        let Ok(Some(seen)) = self.inspect_current().await else {
            return;
        };
        if self.desired().desired != Desired::Running {
            return;
        }
        let phase = match seen.state {
            State::Running => Phase::Running,
            State::Paused => Phase::Paused,
            State::Created | State::Stopping | State::Exited | State::Removing | State::Unknown => {
                return;
            }
        };
        let proven = self.was_healthy(&seen);
        self.note(Vec::new(), |observed| {
            if observed.phase != Phase::Running && observed.phase != phase {
                observed.message = None;
                observed.next_try = None;
            }
            observed.phase = phase;
            observed.current = observed
                .current
                .take()
                .map(|current| with_details(current, &seen));
        });
        self.probe(&seen, proven);
    }

    /// Whether this very run of the instance was healthy when last looked at.
    pub(crate) fn was_healthy(&self, seen: &Observed) -> bool {
        let observed = self.observed();
        let started = observed.current.and_then(|current| current.started);
        observed.health == HealthState::Healthy && started == seen.started
    }

    /// Starts probing the instance, once per start of it.
    pub(crate) fn probe(&mut self, seen: &Observed, proven: bool) {
        let component = self.desired().recipe.component;
        let Some(health) = component.health.clone() else {
            return;
        };
        if self
            .prober
            .as_ref()
            .is_some_and(|prober| prober.is_for(&seen.id, seen.started))
        {
            return;
        }
        let Ok(runtime) = self.runtime(&self.desired().placement.runtime) else {
            return;
        };
        let Some(handle) = self.controller.directory.get(&self.desired().name) else {
            return;
        };
        self.tracker = if proven {
            Tracker::healthy()
        } else {
            Tracker::default()
        };
        if !proven {
            self.note(Vec::new(), |observed| {
                observed.health = HealthState::Starting
            });
        }
        self.prober = Some(Prober::start(health, seen, runtime, handle.inbox));
    }

    pub(crate) fn stop_probing(&mut self) {
        self.prober = None;
        if self.observed().health != HealthState::None {
            self.note(Vec::new(), |observed| observed.health = HealthState::None);
        }
    }

    /// What the engine says of the current instance; `None` when it has none of that name.
    pub(crate) async fn inspect_current(&self) -> Result<Option<Observed>, Error> {
        let Some(current) = self.observed().current else {
            return Ok(None);
        };
        let runtime = self.runtime(&current.runtime)?;
        match runtime.inspect(&self.context(), &reference(&current)).await {
            Ok(observed) => Ok(Some(observed)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn how_to_stop(&self, instance: &InstanceRecord) -> Stop {
        let grace = self
            .desired()
            .grace
            .unwrap_or(instance.recipe.component.stop_grace.0);
        Stop {
            signal: None,
            grace: Duration::from_millis(grace),
        }
    }
}

async fn until(time: Option<Timestamp>) {
    match time {
        Some(time) => {
            let wait =
                Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default();
            tokio::time::sleep(wait).await;
        }
        None => std::future::pending().await,
    }
}

/// How an instance is addressed: by id, or by name while no id is known.
pub(crate) fn reference(instance: &InstanceRecord) -> InstanceId {
    InstanceId(instance.id.clone().unwrap_or_else(|| instance.name.clone()))
}

pub(crate) fn is_same(instance: &InstanceRecord, id: &InstanceId, name: Option<&str>) -> bool {
    instance
        .id
        .as_ref()
        .map_or(name == Some(&instance.name), |known| *known == id.0)
}

pub(crate) fn with_details(instance: InstanceRecord, seen: &Observed) -> InstanceRecord {
    let addresses = seen
        .networks
        .iter()
        .flat_map(|network| {
            network
                .addresses
                .iter()
                .map(|address| (network.name.clone(), *address))
        })
        .collect();
    InstanceRecord {
        id: Some(seen.id.0.clone()),
        pid: seen.pid,
        addresses,
        ports: seen.ports.clone(),
        started: seen.started,
        ..instance
    }
}

pub(crate) fn exit_record(seen: &Observed) -> Option<ExitRecord> {
    seen.exit.clone().map(|exit| ExitRecord {
        at: seen.finished,
        ..exit_of(exit)
    })
}

fn exit_of(exit: hythe_runtime::Exit) -> ExitRecord {
    ExitRecord {
        code: exit.code,
        signal: exit.signal.map(|signal| signal.0),
        oom: exit.oom,
        error: exit.error,
        at: None,
    }
}

/// The cause of death in words.
pub(crate) fn describe_exit(exit: &ExitRecord) -> String {
    match (exit.oom, exit.signal, &exit.error) {
        (true, ..) => "was killed for want of memory".to_owned(),
        (_, Some(signal), _) => format!("was killed by {}", hythe_spec::Signal(signal)),
        (_, _, Some(error)) => format!("ended with {}: {error}", exit.code),
        _ => format!("ended with exit code {}", exit.code),
    }
}
