//! Instances of workloads and how they ended.

use hythe_spec::Port;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Recipe;

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
    /// After a run whose end is dealt with, another start was asked for, and nobody knows yet whether it took place.
    #[serde(default)]
    pub starting: bool,
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
            starting: false,
        }
    }

    /// Of an instance that an engine has; what it does is still to be seen.
    pub fn found(runtime: &str, name: String, recipe: Recipe, generation: u64, attempt: u32) -> Self {
        let intended = Self::intended(runtime, name, recipe, generation, attempt);
        Self { life: Life::Unknown, tried: true, proven: true, ..intended }
    }
}
