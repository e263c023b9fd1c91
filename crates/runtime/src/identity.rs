//! Who owns an object and which attempt it is: the labels that make the engine the witness.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Label that names the owning agent.
pub const OWNER: &str = "hythe.owner";
/// Label that names the service.
pub const SERVICE: &str = "hythe.service";
/// Label that names the component.
pub const COMPONENT: &str = "hythe.component";
/// Label that counts accepted changes of the workload.
pub const GENERATION: &str = "hythe.generation";
/// Label that counts tries within a generation.
pub const ATTEMPT: &str = "hythe.attempt";
/// Label with the hash of the plan.
pub const PLAN_HASH: &str = "hythe.plan-hash";

/// The engine's own id of an instance; opaque.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub String);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which attempt at which generation of which workload, and whose.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Id of the agent that owns the object.
    pub owner: String,
    /// Service name.
    pub service: String,
    /// Component name.
    pub component: String,
    /// Generation of the workload's desired state, from 1.
    pub generation: u64,
    /// Attempt within the generation, from 1.
    pub attempt: u32,
    /// Fingerprint of the component that the plan was made from.
    pub plan_hash: String,
}

impl Identity {
    /// The workload's name.
    pub fn workload(&self) -> String {
        hythe_spec::service::workload_name(&self.service, &self.component)
    }

    /// The attempt's deterministic name in the engine, `<workload>-<generation>-<attempt>`: a repeated create finds its own earlier result.
    pub fn instance_name(&self) -> String {
        format!("{}-{}-{}", self.workload(), self.generation, self.attempt)
    }

    /// The labels that say this on an object.
    pub fn labels(&self) -> BTreeMap<String, String> {
        [
            (OWNER, self.owner.clone()),
            (SERVICE, self.service.clone()),
            (COMPONENT, self.component.clone()),
            (GENERATION, self.generation.to_string()),
            (ATTEMPT, self.attempt.to_string()),
            (PLAN_HASH, self.plan_hash.clone()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    /// What an object's labels say; `None` when any of ours is missing or unreadable, so the object is not ours to touch.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Option<Self> {
        let get = |key: &str| labels.get(key).cloned();
        Some(Self {
            owner: get(OWNER)?,
            service: get(SERVICE)?,
            component: get(COMPONENT)?,
            generation: get(GENERATION)?.parse().ok()?,
            attempt: get(ATTEMPT)?.parse().ok()?,
            plan_hash: get(PLAN_HASH)?,
        })
    }
}
