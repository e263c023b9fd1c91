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

mod bring_up;
mod instance;
mod prepare;
mod probe;
mod react;
mod stop;
mod undo;

use std::sync::Arc;
use std::time::Duration;

use hythe_runtime::{Error, ErrorKind, Event, InstanceId, Listed, OpContext, Runtime};
use hythe_spec::Component;
use hythe_store::{Desired, DesiredRecord, NewEvent, ObservedRecord, Phase, Transaction};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use crate::directory::{Cell, Handle};
use crate::event::workload_event;
use crate::health::{Prober, Tracker};
use crate::{Controller, OperationHandle, policy};

pub(crate) use instance::{is_same, reference, with_details};

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
    pub(crate) fn spawn_worker(self: &Arc<Self>, desired: DesiredRecord, observed: Option<ObservedRecord>) -> Handle {
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
        let handle = Handle { cell, inbox: sender };
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
            Some(Message::Refresh) => self.look().await,
        }
        Flow::Goes
    }

    pub(crate) fn desired(&self) -> DesiredRecord {
        self.cell.borrow().desired.clone()
    }

    pub(crate) fn observed(&self) -> ObservedRecord {
        self.cell.borrow().observed.clone()
    }

    /// What the current instance was made from: after a rollback that is not what is desired.
    pub(crate) fn component(&self) -> Component {
        let cell = self.cell.borrow();
        let current = cell.observed.current.as_ref();
        current.map_or(&cell.desired.recipe, |current| &current.recipe).component.clone()
    }

    pub(crate) fn runtime(&self, name: &str) -> Result<Arc<dyn Runtime>, Error> {
        self.controller.runtimes.get(name)
    }

    /// Context of the request that waits; without one, or once it was withdrawn, of the workload itself: undoing must go on.
    pub(crate) fn context(&self) -> OpContext {
        let requested = self.request.as_ref().map(|request| request.operation.context());
        requested
            .filter(|context| !context.cancel.is_cancelled())
            .unwrap_or_else(|| OpContext::new(self.desired().name))
    }

    pub(crate) fn phase(&self, phase: &'static str, message: impl Into<String>) {
        if let Some(request) = &self.request {
            request.operation.phase(&self.desired().name, phase, message);
        }
    }

    /// Commits a change of what is known, with its events, then shows it.
    pub(crate) fn update(&self, events: Vec<NewEvent>, change: impl FnOnce(&mut ObservedRecord)) -> Result<(), Error> {
        let mut observed = self.observed();
        let before = observed.clone();
        change(&mut observed);
        if observed == before && events.is_empty() {
            return Ok(());
        }
        observed.updated = Timestamp::now();
        let name = self.desired().name;
        let changes = Transaction { observed: Some((name, observed.clone())), events, ..Transaction::default() };
        self.controller.events.commit(&changes).map_err(crate::store_error)?;
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

    pub(crate) fn event(&self, kind: &str, message: impl Into<String>, details: serde_json::Value) -> NewEvent {
        workload_event(&self.desired(), kind, message, details)
    }

    fn supersede(&mut self, request: Request) {
        if let Some(earlier) = self.request.replace(request) {
            let error = Error::new(ErrorKind::Cancelled, "converge", "a newer request took its place");
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
        let cancel = self.request.as_ref().map(|request| request.operation.context().cancel).unwrap_or_default();
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
            observed.phase = if error.kind() == ErrorKind::Unavailable { Phase::Unknown } else { Phase::Restarting };
            observed.message = Some(error.message().to_owned());
            observed.failures = failures;
            observed.next_try = Some(Timestamp::now() + wait);
        });
        self.answer(Err(error));
    }
}

async fn until(time: Option<Timestamp>) {
    match time {
        Some(time) => {
            let wait = Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default();
            tokio::time::sleep(wait).await;
        }
        None => std::future::pending().await,
    }
}
