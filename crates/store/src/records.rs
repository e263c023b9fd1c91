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

/// Why an instance ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Its main process ended by itself.
    #[default]
    Exited,
    /// It died of a signal that processes bring on themselves, such as SIGSEGV.
    Signal,
    /// The kernel killed it for want of memory.
    OutOfMemory,
    /// Somebody other than the agent killed or stopped it.
    Outside,
    /// It ended while its engine did not answer.
    EngineGone,
    /// It ended with the machine it ran on.
    HostRebooted,
    /// The agent stopped it, as desired.
    Stopped,
    /// The agent stopped it because it was not healthy.
    Unhealthy,
}

impl Cause {
    /// The name used on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Signal => "signal",
            Self::OutOfMemory => "out-of-memory",
            Self::Outside => "outside",
            Self::EngineGone => "engine-gone",
            Self::HostRebooted => "host-rebooted",
            Self::Stopped => "stopped",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// How an instance ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Why.
    #[serde(default)]
    pub cause: Cause,
}

/// What is known of the main process of an instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Life {
    /// Nothing: the engine must be asked.
    #[default]
    Unknown,
    /// The instance is to be made; nothing of it is known to be there.
    Intended,
    /// It runs.
    Running,
    /// It is frozen.
    Paused,
    /// It ended, or was never started.
    Exited,
    /// It has done its work and is not started again by itself.
    Completed,
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
    /// What is known of its main process.
    #[serde(default)]
    pub life: Life,
    /// The engine was asked for it at least once, so that it may be there.
    #[serde(default)]
    pub tried: bool,
    /// It was taken over from somebody else and carries no label of ours.
    #[serde(default)]
    pub adopted: bool,
    /// Boot of the host in which it was last seen to run.
    #[serde(default)]
    pub boot: Option<String>,
    /// When somebody other than the agent last sent it a signal in this run.
    #[serde(default)]
    pub signalled: Option<Timestamp>,
}

impl InstanceRecord {
    /// Of an attempt that the engine has not heard of yet.
    pub fn intended(runtime: &str, name: String, recipe: Recipe, generation: u64, attempt: u32) -> Self {
        Self {
            runtime: runtime.to_owned(),
            name,
            generation,
            attempt,
            ports: recipe.component.ports.clone(),
            recipe,
            life: Life::Intended,
            id: None,
            proven: false,
            pid: None,
            addresses: Vec::new(),
            started: None,
            tried: false,
            adopted: false,
            boot: None,
            signalled: None,
        }
    }

    /// Of an instance that an engine has; what it does is still to be seen.
    pub fn found(runtime: &str, name: String, recipe: Recipe, generation: u64, attempt: u32) -> Self {
        let intended = Self::intended(runtime, name, recipe, generation, attempt);
        Self { life: Life::Unknown, tried: true, proven: true, ..intended }
    }
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
