//! An instance's record and what its shim recorded, in the seam's words.

use hythe_local::image_volumes;
use hythe_network::shim_network::Connected;
use hythe_runtime::{Exit, Observed, State};
use hythe_shim::record::{ExitStatus, State as ShimState};
use hythe_spec::vocabulary::ExitCause;
use hythe_spec::{Port, Signal};

use crate::instances::Record;

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
        ports: if is_alive { sorted(connected.ports.clone()) } else { sorted(plan.ports.clone()) },
        networks: connected.networks_of(&plan.network),
        mounts: image_volumes::observed(&record.id, &record.volumes, of_plan.mounts),
        stop_signal: record.stop_signal,
        ..of_plan
    }
}

fn sorted(mut ports: Vec<Port>) -> Vec<Port> {
    ports.sort();
    ports
}
