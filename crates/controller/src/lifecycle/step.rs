//! Steps, the facts of a decision, inputs and notes: the types of the state machine.

use std::collections::BTreeMap;

use hythe_runtime::{Error, Event, InstanceId, Observed, Pending, State};
use hythe_spec::vocabulary::EventKind;
use hythe_spec::{ConfigChange, Signal};
use hythe_store::{DesiredRecord, HealthState, ImageCheck, SentSignal};
use jiff::Timestamp;
use serde_json::Value;

use super::follow::Follow;

/// One thing done to the engine or the store. Each may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Step {
    /// Asks the engine about the current instance, and for its last lines where it ended.
    Inspect,
    /// Makes the volumes that the current instance needs.
    MakeVolumes,
    /// Makes the networks that the current instance needs.
    MakeNetworks,
    /// Fetches the image of the current instance, where it is not there.
    Pull,
    /// Makes and starts the current instance.
    Run,
    /// Starts the current instance.
    Start,
    /// Sends the main process of the current instance a signal, because mounted files have changed.
    Signal,
    /// Stops the current instance.
    StopCurrent,
    /// Removes the current instance.
    RemoveCurrent,
    /// Stops the instance that was replaced.
    StopPrevious,
    /// Removes the instance that was replaced.
    RemovePrevious,
    /// Removes whatever the engine has of this workload that nobody knows.
    PruneStrays,
    /// Forgets the workload.
    Undeploy,
}

impl Step {
    /// Every step.
    pub(crate) const ALL: [Self; 13] = [
        Self::Inspect,
        Self::MakeVolumes,
        Self::MakeNetworks,
        Self::Pull,
        Self::Run,
        Self::Start,
        Self::Signal,
        Self::StopCurrent,
        Self::RemoveCurrent,
        Self::StopPrevious,
        Self::RemovePrevious,
        Self::PruneStrays,
        Self::Undeploy,
    ];

    /// The name in logs and crash points.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Inspect => "look",
            Self::MakeVolumes => "make-volumes",
            Self::MakeNetworks => "make-networks",
            Self::Pull => "pull",
            Self::Run => "run",
            Self::Start => "start",
            Self::Signal => "signal",
            Self::StopCurrent => "stop",
            Self::RemoveCurrent => "remove",
            Self::StopPrevious => "stop-previous",
            Self::RemovePrevious => "remove-previous",
            Self::PruneStrays => "sweep",
            Self::Undeploy => "forget",
        }
    }

    /// Whether it makes something; what fails for good then is the workload's failure, not a matter of trying again.
    pub(crate) const fn makes(self) -> bool {
        matches!(self, Self::MakeVolumes | Self::MakeNetworks | Self::Pull | Self::Run | Self::Start)
    }
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// This step.
    Do(Step),
    /// Nothing until something is heard of, or this time.
    Wait(Option<Timestamp>),
}

/// How far the dependencies of a workload are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DependencyGate {
    /// It may start.
    Open,
    /// This one is not as far as it must be.
    Waiting(String),
    /// It never will be, and why.
    Closed(String),
}

/// What a decision depends on besides the records.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// The time.
    pub(crate) now: Timestamp,
    /// The host's boot.
    pub(crate) boot: &'a str,
    /// Its dependencies.
    pub(crate) gate: DependencyGate,
    /// Whether a request that changed a dependency is to be followed by a restart.
    pub(crate) follow: Follow,
    /// Nothing of its service is known to run on its runtime, so that the service's network is probably not there yet.
    pub(crate) first_of_service: bool,
    /// The image of the next instance is being fetched.
    pub(crate) fetching: bool,
    /// One that depends on it and is to stop, and has not yet.
    pub(crate) dependent: Option<String>,
    /// Runtimes of its instances that start none again once it has ended: there another attempt is made.
    pub(crate) runs_once: Vec<String>,
    /// Runtimes that do not answer, and why.
    pub(crate) down: &'a [(String, String)],
}

/// What a step brought.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is done.
    Done,
    /// The instance has this id and was started.
    Made(InstanceId),
    /// The signal was sent.
    Sent(Reload),
    /// The instance does not see this file: another one has taken its place on the host.
    Unseen(String),
    /// The image was fetched, or was there.
    Pulled(Option<String>),
    /// What the engine says of the current instance, and its last lines where it ended or failed; `None`: it has none of that name.
    Seen(Option<Box<Observed>>, Vec<String>),
}

/// What is heard of.
#[derive(Debug)]
pub(crate) enum Input {
    /// A step ended.
    Ended(Step, Result<Outcome, Error>),
    /// The engine reported an event of one of its instances.
    Engine(Event),
    /// The engine answers (again): the state it lists for the current instance, and whether it lists instances nobody knows.
    Listed(Option<State>, bool),
    /// The engine does not answer any more.
    Lost(String),
    /// The current instance is pending in its engine, for this reason.
    Waiting(Pending),
    /// What is known of the current instance may be old.
    Stale,
    /// What the image of the current instance says of its health.
    ImageCheck(ImageCheck),
    /// It is sent this signal, because a user asked for it.
    Signalled(SentSignal),
    /// Its probes changed their mind.
    Health(HealthState, Option<String>),
    /// It differs from what is desired, because of an out-of-band change.
    Drifted(String),
    /// The request that is being worked on was withdrawn.
    Withdrawn,
}

/// An event to commit; for the request that waits, also progress.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Note {
    pub(crate) kind: EventKind,
    pub(crate) message: String,
    pub(crate) details: Value,
    /// When the engine says that it happened; `None`: now.
    pub(crate) time: Option<Timestamp>,
}

impl Note {
    pub(crate) fn new(kind: EventKind, message: impl Into<String>, details: Value) -> Self {
        Self { kind, message: message.into(), details, time: None }
    }

    pub(crate) fn at(self, time: impl Into<Option<Timestamp>>) -> Self {
        Self { time: time.into(), ..self }
    }
}

/// A signal that was sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reload {
    /// The request for it, as the step knew it: a newer one is still due.
    pub(crate) request: u64,
    pub(crate) signal: Signal,
    /// Digests of the files as they are after it.
    pub(crate) files: BTreeMap<String, String>,
    /// Just before it was sent.
    pub(crate) at: Timestamp,
}

impl Reload {
    /// What is to be sent; `None`: another deploy since then has other means.
    pub(crate) fn of(desired: &DesiredRecord, at: Timestamp) -> Option<Self> {
        let component = &desired.spec.component;
        match component.on_config_change {
            ConfigChange::Signal(signal) => {
                Some(Self { request: desired.reload, signal, files: component.file_digests.clone(), at })
            }
            ConfigChange::Restart | ConfigChange::Ignore => None,
        }
    }
}
