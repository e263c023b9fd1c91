//! The life of a workload as a pure machine: what is known and what is desired in, the next step out.
//!
//! ```text
//!                     asked                     made, started                healthy, or no probe
//!   pending --(pulling)--> starting ------------------------> running (unproven) ----------> running
//!      ^  \ waits for its       |  ^                              |   |                       |  ^ |
//!      |   \ dependencies       |  | after its back-off           |   | ended, unhealthy      |  | | paused by hand
//!      |    \                   |  |                              |   v                       |  | v
//!      |     \   cannot start   |  +-- restarting <---------------|-- (looked at) <-----------+  paused
//!      |      +---------------> v         ^    ended, policy      |        |   ended, or not healthy
//!      | asked again          failed      +-----------------------+        +--> completed | failed
//!      +------------------------+                                          |
//!                                                  what it replaced is     +--> undone: stopped, removed, the old
//!   unknown <- engine lost; -> looked at            kept until it is proven       instance runs again
//!
//!   from every state:  stop -> stopping -> stopped      undeploy -> removing -> gone      deploy, start, restart -> pending
//! ```
//!
//! [`decide`] is asked again and again: it settles what needs no engine in the record, then names the one [`Step`] to take now, or how long to wait.
//! The caller commits the record, takes the step, and gives its outcome to [`observe`], as it gives everything it hears of. Nothing else changes a record.
//!
//! - The record is committed before a step and after it, so that a crash anywhere leads to the same step again; every step may be repeated.
//! - An instance that is gone is made again under its own name: should the engine have been wrong, it finds its own earlier result.
//! - What an explicit request asks for beats every policy: no step ever starts what is desired to be stopped.

mod decide;
mod ended;
mod engine;
mod failed;
mod health;
mod observe;
mod request;
#[cfg(test)]
mod tests;

use hythe_runtime::{Error, Event, InstanceId, Observed, State};
use hythe_store::HealthState;
use jiff::Timestamp;
use serde_json::Value;

pub(crate) use decide::decide;
pub(crate) use ended::CRASH_LOOP;
pub(crate) use observe::observe;
pub(crate) use request::request_is_answered;

/// One thing done to the engine or the store. Each may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Step {
    /// Asks the engine about the current instance, and for its last lines where it ended.
    Look,
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
    /// Stops the current instance.
    StopCurrent,
    /// Removes the current instance.
    RemoveCurrent,
    /// Stops the instance that was replaced.
    StopPrevious,
    /// Removes the instance that was replaced.
    RemovePrevious,
    /// Removes whatever the engine has of this workload that nobody knows.
    Sweep,
    /// Forgets the workload.
    Forget,
}

impl Step {
    /// Every step.
    pub(crate) const ALL: [Self; 12] = [
        Self::Look,
        Self::MakeVolumes,
        Self::MakeNetworks,
        Self::Pull,
        Self::Run,
        Self::Start,
        Self::StopCurrent,
        Self::RemoveCurrent,
        Self::StopPrevious,
        Self::RemovePrevious,
        Self::Sweep,
        Self::Forget,
    ];

    /// The name in logs and crash points.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::MakeVolumes => "make-volumes",
            Self::MakeNetworks => "make-networks",
            Self::Pull => "pull",
            Self::Run => "run",
            Self::Start => "start",
            Self::StopCurrent => "stop",
            Self::RemoveCurrent => "remove",
            Self::StopPrevious => "stop-previous",
            Self::RemovePrevious => "remove-previous",
            Self::Sweep => "sweep",
            Self::Forget => "forget",
        }
    }

    /// Whether it makes something; what fails for good then is the workload's failure, not a matter of trying again.
    const fn makes(self) -> bool {
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
pub(crate) enum Gate {
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
    pub(crate) gate: Gate,
    /// Nothing of its service is known to run on its runtime, so that the service's network is probably not there yet.
    pub(crate) first_of_service: bool,
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
    /// The engine told something of one of its instances.
    Engine(Event),
    /// The engine answers (again): the state it lists for the current instance, and whether it lists instances nobody knows.
    Listed(Option<State>, bool),
    /// The engine does not answer any more.
    Lost(String),
    /// What is known of the current instance may be old.
    Stale,
    /// Its probes changed their mind.
    Health(HealthState, Option<String>),
    /// It differs from what is desired, by hand.
    Drifted(String),
    /// The request that is being worked on was withdrawn.
    Withdrawn,
}

/// Something to tell: an event, and to whoever waits a phase.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Note {
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    pub(crate) details: Value,
    /// When the engine says that it happened; `None`: now.
    pub(crate) time: Option<Timestamp>,
}

impl Note {
    pub(crate) fn new(kind: &'static str, message: impl Into<String>, details: Value) -> Self {
        Self { kind, message: message.into(), details, time: None }
    }

    pub(crate) fn at(self, time: impl Into<Option<Timestamp>>) -> Self {
        Self { time: time.into(), ..self }
    }
}
