//! What instances are now, from evidence: records, the living shim's lock, control groups.

use hythe_runtime::{
    Exit, Filter, Listed, NetworkMode, Observed, ObservedMount, ObservedNetwork, ObservedSeccomp, ObservedSecurity,
    PlanNetwork, Result, State,
};
use hythe_shim::cgroup;
use hythe_shim::files::read_json;
use hythe_shim::record::{End, Phase, Run, boot};
use hythe_spec::{MountSource, Port, Seccomp, Signal};

use crate::client;
use crate::core::Core;
use crate::error::Doing;
use crate::instances::Record;
use crate::network_hook::Connected;

/// A run with the state it means.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) state: State,
    pub(crate) run: Option<Run>,
}

/// Looks at an instance. One whose shim died is settled first, so that what is told is true.
pub(crate) fn state(core: &Core, operation: &'static str, record: &Record) -> Result<Seen> {
    let directory = core.instances.directory(&record.id);
    let read = || match read_json::<Run>(&directory.run()) {
        Ok(run) => Ok(Some(run)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).doing(operation, format_args!("read what became of `{}`", record.name)),
    };
    let is_open =
        |run: &Option<Run>| run.as_ref().is_some_and(|run| matches!(run.phase, Phase::Starting | Phase::Running));
    let mut run = read()?;
    if is_open(&run) && directory.shim().doing(operation, "look for the supervisor")?.is_none() {
        // It may have ended properly between the two looks.
        run = read()?;
        if is_open(&run) {
            client::shim(&core.shim, "settle", &directory, operation)?;
            run = read()?;
        }
    }
    let state = match meaning(run.as_ref()) {
        // Frozen for a moment, while its files are copied.
        State::Paused if directory.held().exists() => State::Running,
        state => state,
    };
    Ok(Seen { state, run })
}

fn meaning(run: Option<&Run>) -> State {
    match run.map(|run| run.phase) {
        None | Some(Phase::Starting | Phase::Failed) => State::Created,
        Some(Phase::Ended) => State::Exited,
        Some(Phase::Running) if run.is_some_and(|run| run.boot != boot()) => State::Unknown,
        Some(Phase::Running) if run.is_some_and(|run| cgroup::is_frozen(&run.cgroups)) => State::Paused,
        Some(Phase::Running) => State::Running,
    }
}

/// How it ended, as the seam says it.
pub(crate) fn exit(end: &End, init: bool) -> Exit {
    // An init cannot die as its child did: it tells by the code.
    let by_code = if init { Exit::from_code(end.code).signal } else { None };
    let signal = end.signal.and_then(|number| u8::try_from(number).ok()).map(Signal).or(by_code);
    Exit { code: end.code, signal, oom: end.oom, error: end.error.clone() }
}

/// Everything about one instance.
pub(crate) fn observe(core: &Core, operation: &'static str, record: &Record) -> Result<Observed> {
    let Seen { state, run } = state(core, operation, record)?;
    let plan = &record.plan;
    let run = run.as_ref();
    let connected = connected(core, record, run);
    let is_alive = matches!(state, State::Running | State::Paused);
    let (network_mode, networks) = networks(&plan.network, connected.networks);
    Ok(Observed {
        id: hythe_runtime::InstanceId(record.id.clone()),
        name: record.name.clone(),
        labels: record.labels.clone(),
        identity: record.identity(),
        image: plan.image.to_string(),
        image_id: Some(record.image_id.clone()),
        state,
        pid: run.and_then(|run| run.pid).filter(|_| is_alive).and_then(|pid| u32::try_from(pid).ok()),
        created: Some(record.created),
        started: run.and_then(|run| run.started),
        finished: run.and_then(|run| run.finished).filter(|_| !is_alive),
        restarts: 0,
        exit: run.and_then(|run| run.end.as_ref()).map(|end| exit(end, plan.init)),
        health: None,
        networks,
        ports: if is_alive { sorted(connected.ports) } else { sorted(plan.ports.clone()) },
        mounts: mounts(record),
        entrypoint: record.command.entrypoint.clone(),
        command: record.command.command.clone(),
        env: record.command.env.clone(),
        given_env: Some(plan.env.keys().cloned().collect()),
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
        resources: plan.resources.clone(),
        own_limits: false,
        read_only: plan.read_only,
        init: Some(plan.init),
        tty: Some(plan.tty),
        stdin: Some(plan.stdin),
        stop_signal: record.stop_signal,
        stop_grace: Some(plan.stop_grace),
        security: security(record),
        engine_restart: Some("no".to_owned()),
        auto_remove: false,
        beyond: Vec::new(),
    })
}

fn connected(core: &Core, record: &Record, run: Option<&Run>) -> Connected {
    let told: Connected = run.and_then(|run| serde_json::from_value(run.network.clone()).ok()).unwrap_or_default();
    let PlanNetwork::Bridged { .. } = record.plan.network else { return told };
    // Others may have come and gone since it was started.
    let now = core.networks.as_ref().and_then(|networks| networks.observe(&record.id).ok().flatten());
    match now {
        Some(now) => Connected { networks: now.networks, ..told },
        None => Connected { networks: Vec::new(), ..told },
    }
}

fn networks(planned: &PlanNetwork, connected: Vec<ObservedNetwork>) -> (NetworkMode, Vec<ObservedNetwork>) {
    let mut networks = match planned {
        PlanNetwork::None => return (NetworkMode::None, Vec::new()),
        PlanNetwork::Host => return (NetworkMode::Host, Vec::new()),
        PlanNetwork::Bridged { .. } if !connected.is_empty() => connected,
        PlanNetwork::Bridged { attachments } => {
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
    (NetworkMode::Bridged, networks)
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
            MountSource::Tmpfs { size, mode } => {
                let size = size.map(|size| format!("size={}", size.0));
                ("tmpfs", String::new(), mode.map(|mode| format!("mode={mode:o}")).into_iter().chain(size).collect())
            }
        };
        let (target, kind, read_only) = (mount.target.clone(), kind.to_owned(), mount.read_only);
        ObservedMount { target, kind, source, read_only, options, given: true }
    };
    let mut mounts: Vec<ObservedMount> = record.plan.mounts.iter().map(one).collect();
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

/// All that match, sorted by name.
pub(crate) fn list(core: &Core, operation: &'static str, filter: &Filter) -> Result<Vec<Listed>> {
    let mut rows = Vec::new();
    let matches = |record: &Record| filter.labels.iter().all(|(key, value)| record.labels.get(key) == Some(value));
    for record in core.instances.all(operation)?.into_iter().filter(matches) {
        match observe(core, operation, &record) {
            Ok(observed) => rows.push(observed.listed()),
            // Gone meanwhile.
            Err(_) if core.instances.read(operation, &record.id)?.is_none() => {}
            Err(error) => return Err(error),
        }
    }
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(rows)
}
