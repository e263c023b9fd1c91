//! Records of instances.

use hythe_runtime::{InstanceId, Observed};
use hythe_store::InstanceRecord;

/// How an instance is addressed: by id, or by name while no id is known.
pub(crate) fn reference(instance: &InstanceRecord) -> InstanceId {
    InstanceId(instance.id.clone().unwrap_or_else(|| instance.name.clone()))
}

pub(crate) fn is_same(instance: &InstanceRecord, id: &InstanceId, name: Option<&str>) -> bool {
    instance.id.as_ref().map_or(name == Some(&instance.name), |known| *known == id.0)
}

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
