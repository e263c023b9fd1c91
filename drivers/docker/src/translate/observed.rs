//! What the engine says of containers, in the seam's words.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hythe_runtime::{
    EngineHealth, Exit, Identity, InstanceId, Listed, Observed, ObservedMount, ObservedNetwork, State, docker_compat,
};
use hythe_spec::vocabulary::ExitCause;
use hythe_spec::{ByteSize, Millicores, Port, Protocol, Resources, Ulimit};
use jiff::Timestamp;

use super::Engine;
use super::mounts::{COVER, COVERED};
use super::plan::WITHOUT_NAMES;
use super::setup;
use crate::api_types::{
    Container, ContainerHostConfig, ContainerMount, ContainerNetworks, ContainerRow, ContainerState,
};

/// Size of `/dev/shm` that both engines give when none is asked for; reported as no limit of ours.
const DEFAULT_SHM: i64 = 64 << 20;
/// The networks that stand for modes, not for networks.
const MODES: [&str; 2] = ["none", "host"];

/// A row of a list.
pub(crate) fn listed(row: ContainerRow) -> Listed {
    let state = state_of(&row.state);
    let ports = row
        .ports
        .iter()
        .filter(|port| port.public_port != 0)
        .filter_map(|port| published(&port.ip, port.public_port, port.private_port, port.protocol.parse().ok()?));
    let mut networks: Vec<String> = row.network_settings.networks.into_keys().filter(|name| is_network(name)).collect();
    networks.sort();
    Listed {
        id: InstanceId(row.id),
        name: row.names.first().map(|name| bare(name)).unwrap_or_default(),
        identity: Identity::from_labels(&row.labels),
        labels: row.labels,
        image: row.image,
        state,
        exit_code: if state == State::Exited { code_in_words(&row.status) } else { None },
        created: Timestamp::from_second(row.created).ok(),
        ports: merged(ports.collect()),
        networks,
    }
}

/// Everything about one container.
pub(crate) fn observed(container: Container, engine: Engine) -> Observed {
    let Container { id, name, created, image, restart_count, state, config, host_config, mounts, network_settings } =
        container;
    let some = |text: String| (!text.is_empty()).then_some(text);
    let read_only = host_config.readonly_rootfs;
    let now = state_of(&state.status);
    Observed {
        id: InstanceId(id),
        name: bare(&name),
        identity: Identity::from_labels(&config.labels),
        labels: setup::without_own(config.labels),
        image: config.image,
        image_id: some(image).map(digest),
        state: now,
        pending: None,
        pid: (state.pid != 0).then_some(state.pid),
        created: timestamp(&created),
        started: started(now, &state),
        finished: timestamp(&state.finished_at),
        restarts: restart_count,
        exit: exit(now, &state),
        health: EngineHealth::from_word(&state.health.status),
        ports: ports(&network_settings),
        networks: networks(network_settings, engine),
        mounts: self::mounts(mounts, &host_config, engine),
        entrypoint: setup::entrypoint(config.entrypoint),
        command: config.cmd,
        env: config.env.iter().map(|entry| pair(entry)).collect(),
        // Dockerd adds nothing to the image's; what Podman adds its API does not tell.
        explicit_env: (engine == Engine::Podman).then(BTreeSet::new),
        user: some(config.user),
        workdir: some(config.working_dir),
        hostname: some(config.hostname),
        network_mode: docker_compat::network_mode(&host_config.network_mode),
        dns: Some(setup::addresses(&host_config.dns)),
        extra_hosts: Some(docker_compat::hosts(&host_config.extra_hosts)),
        dns_search: Some(host_config.dns_search.clone()),
        dns_options: Some(host_config.dns_options.clone()),
        group_add: Some(host_config.group_add.clone()),
        // Podman's API tells neither.
        sysctls: (engine == Engine::Docker).then(|| host_config.sysctls.clone()),
        devices: (engine == Engine::Docker).then(|| setup::devices(&host_config)),
        logs: (engine == Engine::Docker).then(|| setup::logs(&host_config.log_config)),
        resources: resources(&host_config),
        default_limits_unknown: engine == Engine::Podman,
        read_only,
        // Unsaid is the daemon's default, and that none unless configured.
        init: Some(host_config.init.unwrap_or_default()),
        tty: Some(config.tty),
        stdin: Some(config.open_stdin),
        stop_signal: docker_compat::signal(&config.stop_signal),
        stop_grace: config.stop_timeout.and_then(setup::seconds),
        security: setup::security(&host_config, engine),
        engine_restart: Some(setup::restart(&host_config.restart_policy)),
        auto_remove: host_config.auto_remove,
        unmodelled: setup::beyond(&host_config, engine),
    }
}

/// Reads the engine's time; the year 1 is its word for never.
pub(crate) fn timestamp(text: &str) -> Option<Timestamp> {
    if text.starts_with("0001-") { None } else { text.parse().ok() }
}

/// A process that ends at once may have ended before the engine wrote down that it started.
fn started(now: State, state: &ContainerState) -> Option<Timestamp> {
    let (started, finished) = (timestamp(&state.started_at), timestamp(&state.finished_at));
    if now == State::Exited { started.map(|at| finished.map_or(at, |end| at.min(end))) } else { started }
}

pub(crate) fn state_of(word: &str) -> State {
    match word {
        "created" | "configured" | "initialized" => State::Created,
        "running" => State::Running,
        "paused" => State::Paused,
        "stopping" => State::Stopping,
        "exited" | "stopped" | "dead" => State::Exited,
        "removing" => State::Removing,
        _ => State::Unknown,
    }
}

/// A start that failed leaves a code and the engine's words on a container that is still `created`.
fn exit(now: State, state: &ContainerState) -> Option<Exit> {
    let ended = now == State::Exited || (now == State::Created && state.exit_code != 0);
    let error = (!state.error.is_empty()).then(|| state.error.clone());
    let cause = if now == State::Created { ExitCause::NeverStarted } else { ExitCause::Exited };
    let exit = match Exit::from_code(state.exit_code).oom_killed(state.oom_killed) {
        exit if exit.cause == ExitCause::Exited => Exit { cause, ..exit },
        exit => exit,
    };
    ended.then_some(Exit { error, ..exit })
}

/// `Exited (137) 2 minutes ago`.
fn code_in_words(status: &str) -> Option<i32> {
    status.strip_prefix("Exited (")?.split_once(')')?.0.parse().ok()
}

fn bare(name: &str) -> String {
    name.trim_start_matches('/').to_owned()
}

fn digest(id: String) -> String {
    if id.contains(':') { id } else { format!("sha256:{id}") }
}

pub(super) fn pair(entry: &str) -> (String, String) {
    let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
    (key.to_owned(), value.to_owned())
}

fn is_network(name: &str) -> bool {
    !MODES.contains(&name)
}

fn published(ip: &str, host_port: u16, container_port: u16, protocol: Protocol) -> Option<Port> {
    let host_ip = if ip.is_empty() { None } else { Some(ip.parse::<IpAddr>().ok()?) };
    Some(Port { host_ip, host_port: Some(host_port), container_port, protocol })
}

/// The two wildcard addresses of one publication are one port on every address.
fn merged(ports: Vec<Port>) -> Vec<Port> {
    let has = |ports: &[Port], port: &Port, ip: IpAddr| ports.contains(&Port { host_ip: Some(ip), ..port.clone() });
    let (v4, v6) = (IpAddr::from([0, 0, 0, 0]), IpAddr::from([0; 16]));
    let mut result: Vec<Port> = ports
        .iter()
        .map(|port| {
            let wildcard = port.host_ip.is_some_and(|ip| ip.is_unspecified());
            let everywhere = wildcard && has(&ports, port, v4) && has(&ports, port, v6);
            if everywhere { Port { host_ip: None, ..port.clone() } } else { port.clone() }
        })
        .collect();
    result.sort();
    result.dedup();
    result
}

fn ports(settings: &ContainerNetworks) -> Vec<Port> {
    let mut ports = Vec::new();
    for (key, bindings) in &settings.ports {
        let (number, protocol) = key.split_once('/').unwrap_or((key, "tcp"));
        let (Ok(container_port), Ok(protocol)) = (number.parse(), protocol.parse::<Protocol>()) else { continue };
        for binding in bindings.iter().flatten() {
            let Ok(host_port) = binding.host_port.parse() else { continue };
            ports.extend(published(&binding.host_ip, host_port, container_port, protocol));
        }
    }
    merged(ports)
}

fn networks(settings: ContainerNetworks, engine: Engine) -> Vec<ObservedNetwork> {
    let networks = settings.networks.into_iter().filter(|(name, _)| is_network(name));
    let mut networks: Vec<ObservedNetwork> = networks
        .map(|(name, endpoint)| {
            let given = [endpoint.ip_address, endpoint.global_ipv6_address];
            let mut addresses: Vec<IpAddr> = given.iter().filter_map(|text| text.parse().ok()).collect();
            addresses.sort();
            let mut aliases = endpoint.aliases;
            aliases.sort();
            aliases.dedup();
            let aliases = (engine == Engine::Podman || name != WITHOUT_NAMES).then_some(aliases);
            ObservedNetwork { name, addresses, aliases }
        })
        .collect();
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    networks
}

fn split(text: &str) -> Vec<String> {
    let mut words: Vec<String> = text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    words.sort();
    words.dedup();
    words
}

fn mounts(mounts: Vec<ContainerMount>, config: &ContainerHostConfig, engine: Engine) -> Vec<ObservedMount> {
    let mut all: BTreeMap<String, ObservedMount> = BTreeMap::new();
    for (target, options) in &config.tmpfs {
        let options = split(options);
        if is_cover(target, &options) {
            continue;
        }
        let read_only = options.iter().any(|option| option == "ro");
        let mount = ObservedMount {
            target: target.clone(),
            kind: "tmpfs".to_owned(),
            source: String::new(),
            read_only,
            options,
            given: setup::is_given(config, target, engine),
        };
        all.insert(target.clone(), mount);
    }
    for mount in mounts {
        let mut options = split(&mount.mode);
        options.extend((!mount.propagation.is_empty()).then(|| mount.propagation.clone()));
        options.sort();
        options.dedup();
        let target = mount.destination;
        let source = match mount.kind.as_str() {
            "volume" => mount.name,
            _ => setup::asked_source(config, &target).unwrap_or(mount.source),
        };
        let given = setup::is_given(config, &target, engine);
        let observed =
            ObservedMount { target: target.clone(), kind: mount.kind, source, read_only: !mount.rw, options, given };
        all.entry(target).or_insert(observed);
    }
    all.into_values().collect()
}

/// A tmpfs that the translator put over one of Podman's own; nobody asked for it.
fn is_cover(target: &str, options: &[String]) -> bool {
    COVERED.contains(&target) && COVER.iter().all(|word| options.iter().any(|option| option == word))
}

fn resources(config: &ContainerHostConfig) -> Resources {
    let positive = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
    let mut ulimits: Vec<Ulimit> = config
        .ulimits
        .iter()
        .map(|limit| Ulimit {
            name: limit.name.trim_start_matches("RLIMIT_").to_lowercase(),
            soft: limit.soft.as_i64().unwrap_or(-1),
            hard: limit.hard.as_i64().unwrap_or(-1),
        })
        .collect();
    ulimits.sort();
    Resources {
        memory: positive(config.memory).map(ByteSize),
        cpus: cpus(config),
        pids: positive(config.pids_limit).and_then(|number| u32::try_from(number).ok()),
        shm_size: positive(config.shm_size).filter(|_| config.shm_size != DEFAULT_SHM).map(ByteSize),
        ulimits,
    }
}

fn cpus(config: &ContainerHostConfig) -> Option<Millicores> {
    if config.nano_cpus > 0 {
        return u64::try_from(config.nano_cpus / 1_000_000).ok().map(Millicores);
    }
    let (quota, period) = (u64::try_from(config.cpu_quota).ok()?, u64::try_from(config.cpu_period).ok()?);
    if quota == 0 || period == 0 { None } else { Some(Millicores(quota.saturating_mul(1000) / period)) }
}
