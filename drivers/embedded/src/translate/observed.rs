//! An instance's record and what its shim recorded, in the seam's words.

use hythe_runtime::{
    Exit, NetworkMode, Observed, ObservedMount, ObservedNetwork, ObservedSeccomp, ObservedSecurity, PlanNetwork, State,
};
use hythe_shim::record::{ExitStatus, State as ShimState};
use hythe_spec::vocabulary::ExitCause;
use hythe_spec::{MountSource, Port, Seccomp, Signal};

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
    let (network_mode, networks) = networks(&plan.network, connected.networks);
    Observed {
        id: hythe_runtime::InstanceId(record.id.clone()),
        name: record.name.clone(),
        labels: record.labels.clone(),
        identity: record.identity(),
        image: plan.image.to_string(),
        image_id: Some(record.image_id.clone()),
        state,
        pid: recorded.and_then(|recorded| recorded.pid).filter(|_| is_alive).and_then(|pid| u32::try_from(pid).ok()),
        created: Some(record.created),
        started: recorded.and_then(|recorded| recorded.started),
        finished: recorded.and_then(|recorded| recorded.finished).filter(|_| !is_alive),
        restarts: 0,
        exit: recorded.and_then(|recorded| recorded.exit.as_ref()).map(|end| exit(end, plan.init)),
        health: None,
        networks,
        ports: if is_alive { sorted(connected.ports) } else { sorted(plan.ports.clone()) },
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

fn networks(planned: &PlanNetwork, connected: Vec<ObservedNetwork>) -> (NetworkMode, Vec<ObservedNetwork>) {
    let mut networks = match planned {
        PlanNetwork::None => return (NetworkMode::None, Vec::new()),
        PlanNetwork::Host => return (NetworkMode::Host, Vec::new()),
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
    (NetworkMode::Networks, networks)
}

fn sorted(mut ports: Vec<Port>) -> Vec<Port> {
    ports.sort();
    ports
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
