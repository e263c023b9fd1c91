//! Instances of workloads and how they ended.

use hythe_spec::vocabulary::ExitCause;
use hythe_spec::{Health, Port};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ComponentSpec;

/// How an instance ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Exit code; 128 + signal for death by a signal. `None`: it had none, or the engine does not know it.
    pub code: Option<i32>,
    /// Number of the signal it died of.
    pub signal: Option<u8>,
    /// OOM-killed.
    pub oom: bool,
    /// The engine's error message, where there is one.
    pub error: Option<String>,
    /// When.
    pub at: Option<Timestamp>,
    /// Why.
    #[serde(default)]
    pub cause: ExitCause,
}

/// What is known of the main process of an instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Life {
    /// Nothing: the engine must be asked.
    #[default]
    Unknown,
    /// The instance is to be made; nothing of it is known to be there.
    #[serde(rename = "intended")]
    Pending,
    /// It runs.
    Running,
    /// It is frozen.
    Paused,
    /// It ended, or was never started.
    Exited,
    /// It has done its work and is not started again by itself.
    #[serde(rename = "completed")]
    Succeeded,
}

/// A signal that the agent sent because a user asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentSignal {
    /// Its number.
    pub signal: u8,
    /// When.
    pub at: Timestamp,
}

/// The check of the image that an instance is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageCheck {
    /// It has none.
    Absent,
    /// This one.
    Found(Health),
    /// It has one that cannot be done, and why.
    Unfit(String),
}

/// An instance of a workload, as last known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// Name of the runtime it is on.
    pub runtime: String,
    /// What it was made from.
    #[serde(rename = "recipe")]
    pub spec: ComponentSpec,
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
    #[serde(rename = "proven")]
    pub ready_once: bool,
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
    #[serde(rename = "tried")]
    pub create_attempted: bool,
    /// It was adopted from another tool and carries no label of this agent.
    #[serde(default)]
    pub adopted: bool,
    /// Boot of the host in which it was last seen to run.
    #[serde(default)]
    pub boot: Option<String>,
    /// When anybody other than the agent last sent it a signal in this run.
    #[serde(default)]
    pub signalled: Option<Timestamp>,
    /// The last signal that the agent sent in this run because a user asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<SentSignal>,
    /// After a run whose end is dealt with, another start was asked for, and nobody knows yet whether it took place.
    #[serde(default)]
    pub starting: bool,
    /// Its runtime starts no instance twice: once it is removed, another attempt of its generation takes its place. Also of that attempt, until it runs.
    #[serde(default)]
    pub attempted_again: bool,
    /// The check of its image, once its runtime was asked for that: its component has none and does not refuse it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_check: Option<ImageCheck>,
}

impl InstanceRecord {
    /// Of an attempt that the engine has not heard of yet.
    pub fn pending(runtime: &str, name: String, spec: ComponentSpec, generation: u64, attempt: u32) -> Self {
        Self {
            runtime: runtime.to_owned(),
            name,
            generation,
            attempt,
            ports: spec.component.ports.clone(),
            spec,
            life: Life::Pending,
            id: None,
            ready_once: false,
            pid: None,
            addresses: Vec::new(),
            started: None,
            create_attempted: false,
            adopted: false,
            boot: None,
            signalled: None,
            sent: None,
            starting: false,
            attempted_again: false,
            image_check: None,
        }
    }

    /// How it is probed, as far as is known: as its component says, else as its image does.
    pub fn health(&self) -> Option<&Health> {
        let of_image = match &self.image_check {
            Some(ImageCheck::Found(health)) => Some(health),
            Some(ImageCheck::Absent | ImageCheck::Unfit(_)) | None => None,
        };
        self.spec.component.health.as_ref().or(of_image)
    }

    /// Whether its image is still to be asked for a check. An adopted instance is probed as it was before.
    pub fn asks_image(&self) -> bool {
        let component = &self.spec.component;
        self.image_check.is_none() && component.health.is_none() && !component.no_health && !self.adopted
    }

    /// Whether it is probed, or may be once its image was asked.
    pub fn is_probed(&self) -> bool {
        self.health().is_some() || self.asks_image()
    }

    /// What it does is to be seen anew, where it was known to be up.
    #[must_use]
    pub fn to_be_seen(self) -> Self {
        let life = if matches!(self.life, Life::Running | Life::Paused) { Life::Unknown } else { self.life };
        Self { life, ..self }
    }

    /// Of an instance that an engine has; what it does is still to be seen.
    pub fn found(runtime: &str, name: String, spec: ComponentSpec, generation: u64, attempt: u32) -> Self {
        let pending = Self::pending(runtime, name, spec, generation, attempt);
        Self { life: Life::Unknown, create_attempted: true, ready_once: true, ..pending }
    }
}
