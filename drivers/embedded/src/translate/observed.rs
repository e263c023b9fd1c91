//! An instance's record and what its shim recorded, in the seam's words.

use hythe_runtime::{Exit, Observed, ObservedMount, ObservedNetwork, PlanNetwork, State};
use hythe_shim::record::{ExitStatus, State as ShimState};
use hythe_spec::vocabulary::ExitCause;
use hythe_spec::{Port, Signal};

use crate::instances::Record;
use crate::network_hook::Connected;

/// How it ended, as the seam says it.
pub(crate) fn exit(end: &ExitStatus, init: bool) -> Exit {
    // An init cannot die as its child did: it tells by the code.
    let by_code = if init { Exit::from_code(end.code).signal } else { None };
    let signal = end.signal.and_then(|number| u8::try_from(number).ok()).map(Signal).or(by_code);
    let cause = match (signal, end.error.is_some()) {
        _ if end.oom => ExitCause::OutOfMemory,
        (Some(_), _) => ExitCause::Signal,
        (None, true) if matches!(end.code, 126 | 127) => ExitCause::NeverStarted,
        (None, _) => ExitCause::Exited,
    };
    Exit { cause, code: Some(end.code), signal, error: end.error.clone() }
}

/// Everything about one instance.
pub(crate) fn observed(record: &Record, state: State, recorded: Option<&ShimState>, connected: Connected) -> Observed {
    let plan = &record.plan;
    let is_alive = matches!(state, State::Running | State::Paused);
    let of_plan = hythe_oci_spec::observed(plan, &record.command);
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
        exit: recorded.and_then(|recorded| recorded.exit.as_ref()).map(|end| exit(end, plan.init)),
        networks: networks(&plan.network, connected.networks),
        ports: if is_alive { sorted(connected.ports) } else { sorted(plan.ports.clone()) },
        mounts: mounts(record, of_plan.mounts),
        stop_signal: record.stop_signal,
        ..of_plan
    }
}

fn networks(planned: &PlanNetwork, connected: Vec<ObservedNetwork>) -> Vec<ObservedNetwork> {
    let mut networks = match planned {
        PlanNetwork::None | PlanNetwork::Host => Vec::new(),
        PlanNetwork::Networks { .. } if !connected.is_empty() => connected,
        PlanNetwork::Networks { attachments } => {
            let one = |attachment: &hythe_runtime::Attachment| ObservedNetwork {
                name: attachment.network.clone(),
                addresses: Vec::new(),
                aliases: Some(attachment.aliases.clone()),
            };
            attachments.iter().map(one).collect()
        }
    };
    for network in &mut networks {
        network.addresses.sort();
        if let Some(aliases) = &mut network.aliases {
            aliases.sort();
        }
    }
    networks.sort_by(|one, other| one.name.cmp(&other.name));
    networks
}

fn sorted(mut ports: Vec<Port>) -> Vec<Port> {
    ports.sort();
    ports
}

/// Those of the plan, and the volumes that the image declares.
fn mounts(record: &Record, mut mounts: Vec<ObservedMount>) -> Vec<ObservedMount> {
    mounts.extend((0..).zip(&record.volumes).map(|(at, target): (u32, &String)| ObservedMount {
        target: target.clone(),
        kind: "volume".to_owned(),
        source: format!("{}-{at}", record.id),
        read_only: false,
        options: Vec::new(),
        given: false,
    }));
    mounts.sort_by(|one, other| one.target.cmp(&other.target));
    mounts
}
