//! Who owns an object and which attempt it is: the engine's labels are the source of truth.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

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
/// Label with the component spec as it was deployed, without the values of its environment, which the engine has.
pub const COMPONENT_SPEC: &str = "hythe.recipe";

/// The deterministic name of an attempt in its engine: a repeated create finds its own earlier result.
pub fn instance_name(workload: &str, generation: u64, attempt: u32) -> String {
    format!("{workload}-{generation}-{attempt}")
}

/// Refuses to remove what carries no label of this owner; `what` is its kind.
///
/// # Errors
/// `Conflict`.
pub fn must_be_of(
    owner: &str,
    operation: &'static str,
    what: &str,
    name: &str,
    labels: &BTreeMap<String, String>,
) -> Result<()> {
    let words = match labels.get(OWNER) {
        Some(of) if of == owner => return Ok(()),
        Some(other) => format!("{what} `{name}` belongs to another agent, `{other}`; it is left alone"),
        None => format!("{what} `{name}` is not managed by Hythe; it is left alone"),
    };
    Err(Error::new(ErrorKind::Conflict, operation, words))
}

/// Refuses to change an instance that carries no label of ours, unless the caller has its id, as of an adopted one.
///
/// # Errors
/// `Conflict`.
pub fn ensure_owned(operation: &'static str, instance: &InstanceRef, labels: &BTreeMap<String, String>) -> Result<()> {
    if matches!(instance, InstanceRef::Id(_)) || Identity::from_labels(labels).is_some() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict, operation, format!("`{instance}` is not managed by Hythe; it is left alone")))
}

/// An instance is to be made under a name that another one, `owner`, has: `AlreadyExists`.
pub fn name_in_use(operation: &'static str, name: &str, owner: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, operation, format!("the name `{name}` is in use by instance `{owner}`"))
}

/// What is to be made bears a name that something else has, with these labels: `AlreadyExists` that says whose it is.
pub fn taken(operation: &'static str, what: &str, name: &str, labels: &BTreeMap<String, String>) -> Error {
    let (words, hint) = match labels.get(OWNER) {
        Some(other) => (
            format!("{what} `{name}` exists and belongs to another agent, `{other}`"),
            "rename the service: another agent has that name on this engine".to_owned(),
        ),
        None => (
            format!("{what} `{name}` exists and is not managed by this agent"),
            format!("rename the service, or the {what} that is there"),
        ),
    };
    Error::new(ErrorKind::AlreadyExists, operation, words).hint(hint)
}

/// What is to be made with the `wanted` labels is there already, with these: success where both name one owner, else [`taken`]. Without an owner nobody's object is taken over.
///
/// # Errors
/// `AlreadyExists`.
pub fn ensure_same_owner(
    operation: &'static str,
    what: &str,
    name: &str,
    labels: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> Result<()> {
    let owner = wanted.get(OWNER);
    if owner.is_some() && labels.get(OWNER) == owner { Ok(()) } else { Err(taken(operation, what, name, labels)) }
}

/// The engine's own id of an instance; opaque.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub String);

impl InstanceId {
    /// The instance with this id.
    pub fn to_ref(&self) -> InstanceRef {
        InstanceRef::Id(self.clone())
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One instance, as a caller names it: by the engine's id or by its name. What it is, is said and never read from the look of a string:
/// a name may look like an id, and engines take the first digits of an id for the whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum InstanceRef {
    /// The whole id that the engine gave it.
    Id(InstanceId),
    /// Its whole name.
    Name(String),
}

impl InstanceRef {
    /// By the engine's id.
    pub fn id(id: impl Into<String>) -> Self {
        Self::Id(InstanceId(id.into()))
    }

    /// By name.
    pub fn name(name: impl Into<String>) -> Self {
        Self::Name(name.into())
    }

    /// The id or the name, as an engine takes it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Id(id) => &id.0,
            Self::Name(name) => name,
        }
    }

    /// Accepts what the engine found, with this id and name, if it is what was asked for: engines also find an instance by the first digits of its id.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn exact(&self, operation: &'static str, id: &str, name: &str) -> Result<()> {
        let is_it = match self {
            Self::Id(wanted) => wanted.0 == id,
            Self::Name(wanted) => wanted == name,
        };
        if is_it {
            return Ok(());
        }
        Err(Error::new(ErrorKind::NotFound, operation, format!("there is no instance `{self}`")))
    }
}

impl fmt::Display for InstanceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<InstanceId> for InstanceRef {
    fn from(id: InstanceId) -> Self {
        Self::Id(id)
    }
}

impl From<&Self> for InstanceRef {
    fn from(instance: &Self) -> Self {
        instance.clone()
    }
}

impl From<&InstanceId> for InstanceRef {
    fn from(id: &InstanceId) -> Self {
        id.to_ref()
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

    /// The attempt's name in its engine, see [`instance_name`].
    pub fn instance_name(&self) -> String {
        instance_name(&self.workload(), self.generation, self.attempt)
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
