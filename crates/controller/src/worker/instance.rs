//! Records of instances and of how they ended.

use hythe_runtime::{InstanceId, Observed};
use hythe_store::{ExitRecord, InstanceRecord};

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
        started: seen.started,
        ..instance
    }
}

pub(crate) fn exit_record(seen: &Observed) -> Option<ExitRecord> {
    seen.exit.clone().map(|exit| ExitRecord { at: seen.finished, ..exit_of(exit) })
}

pub(super) fn exit_of(exit: hythe_runtime::Exit) -> ExitRecord {
    ExitRecord {
        code: exit.code,
        signal: exit.signal.map(|signal| signal.0),
        oom: exit.oom,
        error: exit.error,
        at: None,
    }
}

/// The cause of death in words.
pub(crate) fn describe_exit(exit: &ExitRecord) -> String {
    match (exit.oom, exit.signal, &exit.error) {
        (true, ..) => "was killed for want of memory".to_owned(),
        (_, Some(signal), _) => format!("was killed by {}", hythe_spec::Signal(signal)),
        (_, _, Some(error)) => format!("ended with {}: {error}", exit.code),
        _ => format!("ended with exit code {}", exit.code),
    }
}
