//! What the lifecycle, drift and the tasks of workloads share. Pure values; it knows no other module of this crate.

use hythe_runtime::{Error, ErrorKind, InstanceId, Observed};
use hythe_spec::vocabulary::DriftCause;
use hythe_store::{DesiredRecord, Failure, InstanceRecord, ObservedRecord};
use serde::Serialize;
use serde_json::Value;

/// A workload: what is desired and what is known.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkloadState {
    /// What is desired.
    pub desired: DesiredRecord,
    /// What is known.
    pub observed: ObservedRecord,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Field of the component (`memory`, `env.MODE`, `mounts./data`), or `state`, `name`, `generation`, `instance`.
    pub field: String,
    /// What is desired.
    pub desired: Value,
    /// What is observed.
    pub observed: Value,
    /// Why.
    pub cause: DriftCause,
}

impl Difference {
    /// Of whether it runs.
    pub(crate) fn of_state(desired: &str, observed: &str, cause: DriftCause) -> Self {
        Self { field: "state".to_owned(), desired: desired.into(), observed: observed.into(), cause }
    }
}

/// Whether an engine's instance is this one: by its id, else by its name.
pub(crate) fn is_same(instance: &InstanceRecord, id: &InstanceId, name: Option<&str>) -> bool {
    instance.id.as_ref().map_or(name == Some(&instance.name), |known| *known == id.0)
}

/// The record with what its engine says of it.
pub(crate) fn with_details(instance: InstanceRecord, seen: &Observed) -> InstanceRecord {
    let addresses = seen
        .networks
        .iter()
        .flat_map(|network| network.addresses.iter().map(|address| (network.name.clone(), *address)))
        .collect();
    InstanceRecord {
        id: Some(seen.id.0.clone()),
        pid: seen.pid,
        addresses,
        ports: seen.ports.clone(),
        started: seen.started.or(instance.started),
        ..instance
    }
}

/// A failure of the records as the error it was.
pub(crate) fn error_of(failure: &Failure) -> Error {
    let kind = serde_json::from_value(serde_json::Value::String(failure.kind.clone())).unwrap_or(ErrorKind::Internal);
    let error = Error::new(kind, "converge", failure.message.clone());
    match &failure.hint {
        Some(hint) => error.hint(hint.clone()),
        None => error,
    }
}
