//! The records: one per service, one per workload.

use hythe_spec::{Component, Service};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ExitRecord, InstanceRecord};

/// Whether a workload should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Desired {
    /// It should run.
    Running,
    /// A user stopped it, or its service is not active.
    Stopped,
    /// It is being undeployed; the record goes with its last instance.
    Removed,
}

/// What a workload does, as last known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Accepted; waits for its turn or its dependencies.
    Pending,
    /// Its image is being fetched.
    Pulling,
    /// Its instance is being made and started.
    Starting,
    /// It runs.
    Running,
    /// It is frozen.
    Paused,
    /// It is being stopped.
    Stopping,
    /// It does not run, as desired.
    Stopped,
    /// It ended with 0 and is not started again.
    Completed,
    /// It ended and waits for its next start.
    Restarting,
    /// It does not run against what is desired, and nothing more is tried.
    Failed,
    /// It is being removed.
    Removing,
    /// Its engine does not answer; nothing is known.
    Unknown,
}

/// Result of health probes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    /// No probe, or it does not run.
    #[default]
    None,
    /// No probe has succeeded yet.
    Starting,
    /// Probes succeed.
    Healthy,
    /// Too many in a row failed.
    Unhealthy,
}

/// How far the things are that an instance needs before it can be made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Supply {
    /// Nothing was seen to.
    #[default]
    Nothing,
    /// Its volumes are there.
    Volumes,
    /// The engine is asked for the instance; what it lacks it will say.
    Ready,
    /// The engine lacks something: networks are made, then the image is fetched.
    Missing,
    /// Its networks are there, its image is fetched.
    Networks,
    /// Everything was seen to; what the engine lacks now is an error.
    Complete,
}

/// Why a generation could not be brought up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Generation that failed.
    pub generation: u64,
    /// Kind of the error, as on the wire.
    pub kind: String,
    /// The error.
    pub message: String,
    /// The user's next step.
    pub hint: Option<String>,
    /// Its last log lines.
    #[serde(default)]
    pub lines: Vec<String>,
}

/// Where a workload was placed and why not elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Name of the runtime.
    pub runtime: String,
    /// Runtimes considered before it.
    pub rejected: Vec<Rejection>,
}

/// Why a runtime was not chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Name of the runtime.
    pub runtime: String,
    /// Reasons.
    pub reasons: Vec<String>,
}

/// A service as desired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// What is desired.
    pub desired: Service,
    /// When that last changed.
    pub updated: Timestamp,
    /// It is being removed; kept until all that belongs to it is gone.
    #[serde(default)]
    pub removing: Option<Removing>,
}

/// How a service is being removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removing {
    /// Its own volumes go too.
    pub volumes: bool,
    /// Runtimes on which something may belong to it.
    pub runtimes: Vec<String>,
}

/// What is desired of a workload. Written by whoever accepts a change, under one lock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredRecord {
    /// Workload name.
    pub name: String,
    /// Service name.
    pub service: String,
    /// What it is made from.
    pub recipe: Recipe,
    /// Counts accepted changes, from 1.
    pub generation: u64,
    /// Whether it should run.
    pub desired: Desired,
    /// Milliseconds until KILL for this stop, over the component's own grace.
    #[serde(default)]
    pub grace: Option<u64>,
    /// Where it runs.
    pub placement: Placement,
    /// Counts explicit requests; a new one is tried at once whatever failed before.
    #[serde(default)]
    pub asked: u64,
    /// The request, by that count, which last asked for a new start of the main process.
    #[serde(default)]
    pub restart: u64,
    /// Differences that somebody made by hand are undone.
    #[serde(default)]
    pub heal: bool,
}

impl DesiredRecord {
    /// Of a workload that somebody asks for the first time.
    pub fn new(service: &str, recipe: Recipe, generation: u64, desired: Desired, runtime: &str) -> Self {
        Self {
            name: hythe_spec::service::workload_name(service, &recipe.component.name),
            service: service.to_owned(),
            recipe,
            generation,
            desired,
            grace: None,
            placement: Placement { runtime: runtime.to_owned(), rejected: Vec::new() },
            asked: 1,
            restart: 0,
            heal: false,
        }
    }
}

/// What an instance is made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The component.
    pub component: Component,
    /// Labels of the service.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Fingerprint of both.
    pub hash: String,
}

/// What is known of a workload. Written by its own task alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedRecord {
    /// What it does.
    pub phase: Phase,
    /// Result of its probes.
    pub health: HealthState,
    /// Why it is in this phase, where that needs saying.
    pub message: Option<String>,
    /// The instance of the newest attempt, from the moment it is intended.
    pub current: Option<InstanceRecord>,
    /// The instance it replaces, kept until the new one is good.
    pub previous: Option<InstanceRecord>,
    /// A generation that failed and was rolled back; not tried again by itself.
    pub gave_up: Option<u64>,
    /// Highest attempt of the current generation.
    pub attempt: u32,
    /// Restarts by the agent since this generation began.
    pub restarts: u32,
    /// Failed runs in a row; decides the back-off.
    pub failures: u32,
    /// When it is tried again, where it waits for that.
    pub next_try: Option<Timestamp>,
    /// How it last ended.
    pub exit: Option<ExitRecord>,
    /// Generation that `attempt` counts in.
    #[serde(default)]
    pub generation: u64,
    /// The newest request that was taken up.
    #[serde(default)]
    pub asked: u64,
    /// The newest request for a new start that was taken up.
    #[serde(default)]
    pub restarted: u64,
    /// The newest request to stop that was carried out.
    #[serde(default)]
    pub halted: u64,
    /// How far the needs of the current instance are seen to.
    #[serde(default)]
    pub supply: Supply,
    /// The current instance failed for good; its last words are still to be read.
    #[serde(default)]
    pub failing: Option<Failure>,
    /// The current instance failed for good and goes; what it replaced comes back.
    #[serde(default)]
    pub undo: Option<Failure>,
    /// Why a generation failed, the last one that did.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// Its main process is to be stopped and started again, and why.
    #[serde(default)]
    pub kick: Option<String>,
    /// The current instance is to be replaced by one like it, and why.
    #[serde(default)]
    pub renew: Option<String>,
    /// The engine may have instances of this workload that nobody knows.
    #[serde(default)]
    pub sweep: bool,
    /// When its engine was last lost.
    #[serde(default)]
    pub lost: Option<Timestamp>,
    /// When this record last changed.
    pub updated: Timestamp,
}

impl ObservedRecord {
    /// Of a workload that has only been accepted.
    pub fn new(now: Timestamp) -> Self {
        Self {
            phase: Phase::Pending,
            health: HealthState::None,
            message: None,
            current: None,
            previous: None,
            gave_up: None,
            attempt: 0,
            restarts: 0,
            failures: 0,
            next_try: None,
            exit: None,
            generation: 0,
            asked: 0,
            restarted: 0,
            halted: 0,
            supply: Supply::Nothing,
            failing: None,
            undo: None,
            failure: None,
            kick: None,
            renew: None,
            sweep: false,
            lost: None,
            updated: now,
        }
    }
}
