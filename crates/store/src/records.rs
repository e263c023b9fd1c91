//! The records: one per service, one per workload.

use hythe_spec::{Component, Port, Service};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Exit code; 128 + signal for death by a signal.
    pub code: i32,
    /// Number of the signal it died of.
    pub signal: Option<u8>,
    /// Killed by the kernel for want of memory.
    pub oom: bool,
    /// The engine's words where there are any.
    pub error: Option<String>,
    /// When.
    pub at: Option<Timestamp>,
}

/// An instance of a workload, as last known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// Name of the runtime it is on.
    pub runtime: String,
    /// What it was made from.
    pub recipe: Recipe,
    /// The engine's id; absent while the create has not answered.
    pub id: Option<String>,
    /// Its deterministic name in the engine.
    pub name: String,
    /// Generation it was made for.
    pub generation: u64,
    /// Attempt within the generation.
    pub attempt: u32,
    /// It ran and, where it has a probe, was healthy once: good enough to fall back to.
    #[serde(default)]
    pub proven: bool,
    /// Host pid.
    pub pid: Option<u32>,
    /// Addresses in its networks: network and address.
    pub addresses: Vec<(String, std::net::IpAddr)>,
    /// Ports as published.
    pub ports: Vec<Port>,
    /// When its main process was last started.
    pub started: Option<Timestamp>,
    /// It was somebody else's and was taken over as it is, so it carries none of our labels.
    #[serde(default)]
    pub adopted: bool,
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
            updated: now,
        }
    }
}
