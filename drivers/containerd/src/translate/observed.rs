//! Containers and tasks in the seam's words.

use hythe_runtime::{
    Exit, InstanceId, NetworkMode, Observed, ObservedMount, ObservedSeccomp, ObservedSecurity, PlanNetwork, State,
};
use hythe_spec::{MountSource, Seccomp};

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
        State::Running | State::Paused | State::Stopping | State::Removing | State::Unknown => None,
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
pub(crate) fn observed(record: &Record, process: Option<&Process>, run: Option<&Run>) -> Observed {
    let state = state(process, run);
    let plan = &record.plan;
    let is_alive = matches!(state, State::Running | State::Paused);
    let network_mode = match plan.network {
        PlanNetwork::None => NetworkMode::None,
        PlanNetwork::Host => NetworkMode::Host,
        PlanNetwork::Networks { .. } => NetworkMode::Networks,
    };
    Observed {
        id: InstanceId(record.id.clone()),
        name: record.name.clone(),
        labels: record.labels.clone(),
        identity: record.identity(),
        image: plan.image.to_string(),
        image_id: Some(record.image_id.clone()),
        state,
        pid: process.filter(|_| is_alive).map(|process| process.pid),
        created: Some(record.created),
        started: run.and_then(|run| run.started),
        finished: run.and_then(|run| run.finished).filter(|_| !is_alive),
        restarts: 0,
        exit: exit(state, run),
        health: None,
        networks: Vec::new(),
        ports: plan.ports.clone(),
        mounts: mounts(record),
        entrypoint: record.command.entrypoint.clone(),
        command: record.command.command.clone(),
        env: record.command.env.clone(),
        explicit_env: Some(plan.env.keys().cloned().collect()),
        user: record.command.user.clone(),
        workdir: Some(record.command.workdir.clone()),
        hostname: Some(plan.hostname.clone()),
        network_mode,
        dns: Some(plan.dns.clone()),
        extra_hosts: Some({
            let mut hosts = plan.extra_hosts.clone();
            hosts.sort();
            hosts
        }),
        dns_search: Some(plan.dns_search.clone()),
        dns_options: Some(plan.dns_options.clone()),
        group_add: Some(plan.group_add.clone()),
        sysctls: Some(plan.sysctls.clone()),
        devices: Some(plan.devices.clone()),
        logs: plan.logs,
        resources: plan.resources.clone(),
        default_limits_unknown: false,
        read_only: plan.read_only,
        init: Some(plan.init),
        tty: Some(plan.tty),
        stdin: Some(plan.stdin),
        stop_signal: record.stop_signal,
        stop_grace: Some(plan.stop_grace),
        security: security(record),
        engine_restart: Some("no".to_owned()),
        auto_remove: false,
        unmodelled: Vec::new(),
    }
}

fn mounts(record: &Record) -> Vec<ObservedMount> {
    let one = |mount: &hythe_spec::Mount| {
        let (kind, source, options) = match &mount.source {
            MountSource::Volume { name, .. } => ("volume", name.clone(), Vec::new()),
            MountSource::Bind { path, propagation, .. } => {
                ("bind", path.clone(), propagation.iter().cloned().collect())
            }
            MountSource::Tmpfs { size, mode, options } => {
                let (size, mode) =
                    (size.map(|size| format!("size={}", size.0)), mode.map(|mode| format!("mode={mode:o}")));
                ("tmpfs", String::new(), mode.into_iter().chain(size).chain(options.words()).collect())
            }
        };
        let (target, kind, read_only) = (mount.target.clone(), kind.to_owned(), mount.read_only);
        ObservedMount { target, kind, source, read_only, options, given: true }
    };
    let mut mounts: Vec<ObservedMount> = record.plan.all_mounts().iter().map(one).collect();
    mounts.sort_by(|one, other| one.target.cmp(&other.target));
    mounts
}

fn security(record: &Record) -> ObservedSecurity {
    let security = &record.plan.security;
    let seccomp = match security.seccomp {
        Seccomp::Default => ObservedSeccomp::Default,
        Seccomp::Unconfined => ObservedSeccomp::Unconfined,
        Seccomp::File(_) => ObservedSeccomp::Profile,
    };
    ObservedSecurity {
        capabilities: Some(security.capabilities.clone()),
        privileged: Some(security.privileged),
        seccomp: Some(seccomp),
        no_new_privileges: Some(security.no_new_privileges),
    }
}
