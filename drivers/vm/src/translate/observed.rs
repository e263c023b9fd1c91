//! An instance's record and what its supervisor recorded, in the seam's words.

use hythe_local::instances::Record;
use hythe_network::shim_network::Connected;
use hythe_runtime::{Observed, State};
use hythe_shim::record::State as ShimState;
use hythe_spec::Port;

use crate::shim::exit;

/// Everything about one instance.
pub(crate) fn observed(record: &Record, state: State, recorded: Option<&ShimState>, connected: Connected) -> Observed {
    let plan = &record.plan;
    let is_alive = matches!(state, State::Running | State::Paused);
    Observed {
        id: hythe_runtime::InstanceId(record.id.clone()),
        name: record.name.clone(),
        labels: record.labels.clone(),
        identity: record.identity(),
        image_id: Some(record.image_id.clone()),
        state,
        pid: recorded.and_then(|recorded| recorded.pid).filter(|_| is_alive).and_then(|pid| u32::try_from(pid).ok()),
        created: Some(record.created),
        started: recorded.and_then(|recorded| recorded.started),
        finished: recorded.and_then(|recorded| recorded.finished).filter(|_| !is_alive),
        exit: recorded.and_then(|recorded| recorded.exit.as_ref()).map(exit),
        ports: if is_alive { sorted(connected.ports.clone()) } else { sorted(plan.ports.clone()) },
        networks: connected.networks_of(&plan.network),
        stop_signal: record.stop_signal,
        ..hythe_oci_spec::observed(plan, &record.command)
    }
}

fn sorted(mut ports: Vec<Port>) -> Vec<Port> {
    ports.sort();
    ports
}
