//! Containers and tasks in the seam's words.

use hythe_local::image_volumes;
use hythe_network::shim_network::Connected;
use hythe_runtime::{Exit, InstanceId, NetworkMode, Observed, State};

use crate::api_types::{Process, Status};
use crate::record::{Found, Record};
use crate::task::{Run, lost, moment};

/// What a task and the last run mean.
pub(crate) fn state(process: Option<&Process>, run: Option<&Run>) -> State {
    match process.map(Process::status) {
        Some(Status::Running) => State::Running,
        Some(Status::Paused | Status::Pausing) => State::Paused,
        Some(Status::Stopped) => State::Exited,
        Some(Status::Unknown) => State::Unknown,
        Some(Status::Created) => State::Created,
        None if run.is_some_and(|run| run.started.is_some()) => State::Exited,
        None => State::Created,
    }
}

/// How it ended, once it has.
fn exit(state: State, run: Option<&Run>) -> Option<Exit> {
    let known = run.and_then(|run| run.exit.clone());
    match state {
        State::Exited => Some(known.unwrap_or_else(lost)),
        State::Created => known,
        State::Pending | State::Running | State::Paused | State::Stopping | State::Removing | State::Unknown => None,
    }
}

/// One that somebody else has made in the namespace.
pub(crate) fn foreign(found: &Found, process: Option<&Process>) -> Observed {
    let state = state(process, None);
    Observed {
        id: InstanceId(found.id().to_owned()),
        name: found.name().to_owned(),
        labels: found.labels(),
        image: found.container.image.clone(),
        state,
        pid: process.filter(|_| matches!(state, State::Running | State::Paused)).map(|process| process.pid),
        created: moment(found.container.created_at),
        exit: process
            .filter(|_| state == State::Exited)
            .map(|process| Exit::from_code(i32::try_from(process.exit_status).unwrap_or(255))),
        network_mode: NetworkMode::Other("not known".to_owned()),
        default_limits_unknown: true,
        ..Observed::default()
    }
}

/// Everything about one instance.
pub(crate) fn observed(
    record: &Record,
    process: Option<&Process>,
    run: Option<&Run>,
    connected: Connected,
) -> Observed {
    let state = state(process, run);
    let plan = &record.plan;
    let of_plan = hythe_oci_spec::observed(plan, &record.command);
    let is_alive = matches!(state, State::Running | State::Paused);
    let mut ports = if is_alive { connected.ports.clone() } else { plan.ports.clone() };
    ports.sort();
    Observed {
        id: InstanceId(record.id.clone()),
        name: record.name.clone(),
        labels: record.labels.clone(),
        identity: record.identity(),
        image_id: Some(record.image_id.clone()),
        state,
        pid: process.filter(|_| is_alive).map(|process| process.pid),
        created: Some(record.created),
        started: run.and_then(|run| run.started),
        finished: run.and_then(|run| run.finished).filter(|_| !is_alive),
        exit: exit(state, run),
        networks: connected.networks_of(&plan.network),
        ports,
        mounts: image_volumes::observed(&record.id, &record.volumes, of_plan.mounts),
        stop_signal: record.stop_signal,
        ..of_plan
    }
}
