//! What an inspected container says, in the seam's words.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hythe_runtime::{
    EngineHealth, Exit, Identity, InstanceId, Observed, ObservedMount, ObservedNetwork, State, docker_compat,
};
use hythe_spec::{ByteSize, Millicores, Millis, Port, Resources, Ulimit};
use jiff::Timestamp;

use super::mounts::{SHM, has_own_shm};
use super::{address, digest, filled, setup, split_pair, state, time};
use crate::api_types::{Binding, Connection, Container, HostConfig, MountDocument, UlimitDocument};

impl Container {
    pub(crate) fn state(&self) -> State {
        state(&self.state.status)
    }

    /// Made in the OCI runtime, and not known to run: its process waits to be started, or was and podman did not live to write it down.
    pub(crate) fn may_have_started(&self) -> bool {
        self.state.status == "initialized"
    }

    /// When its main process was last started; `None`: never.
    pub(crate) fn started(&self) -> Option<Timestamp> {
        time(self.state.started_at.as_deref())
    }

    /// How it ended, as podman says it.
    pub(crate) fn exit(&self) -> Option<Exit> {
        (self.state() == State::Exited).then(|| Exit {
            error: Some(self.state.error.clone()).filter(|error| !error.is_empty()),
            ..Exit::from_code(self.state.exit_code).oom_killed(self.state.oom_killed)
        })
    }

    /// Everything it says, with how it ended as found out by the caller.
    pub(crate) fn observed(self, exit: Option<Exit>) -> Observed {
        let state = self.state();
        let init = setup::has_init(&self);
        let mut networks: Vec<ObservedNetwork> = self.network_settings.networks.into_iter().map(connected).collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        let host = &self.host_config;
        let made_by = &self.config.create_command;
        Observed {
            identity: Identity::from_labels(&self.config.labels),
            state,
            pending: None,
            pid: Some(self.state.pid).filter(|pid| *pid != 0),
            created: time(self.created.as_deref()),
            started: time(self.state.started_at.as_deref()),
            finished: time(self.state.finished_at.as_deref()),
            restarts: self.restart_count,
            exit,
            health: EngineHealth::from_word(&self.state.health.status),
            networks,
            ports: bound(self.network_settings.ports),
            network_mode: docker_compat::network_mode(&host.network_mode),
            dns: Some(host.dns.iter().filter_map(|text| text.parse().ok()).collect()),
            extra_hosts: Some(docker_compat::hosts(&host.extra_hosts)),
            dns_search: Some(host.dns_search.clone()),
            dns_options: Some(host.dns_options.clone()),
            group_add: Some(host.group_add.clone()),
            sysctls: setup::given_sysctls(made_by),
            devices: setup::given_devices(made_by),
            // Told in round numbers.
            logs: None,
            init: Some(init),
            tty: Some(self.config.tty),
            stdin: Some(self.config.open_stdin),
            stop_signal: docker_compat::signal(&self.config.stop_signal),
            stop_grace: self.config.stop_timeout.map(|seconds| Millis(seconds.saturating_mul(1000))),
            security: setup::security(host, self.bounding_caps.as_deref()),
            engine_restart: Some(docker_compat::restart(
                &host.restart_policy.name,
                host.restart_policy.maximum_retry_count,
            )),
            auto_remove: host.auto_remove,
            unmodelled: setup::beyond(host, &self.pod, made_by),
            explicit_env: Some(setup::explicit_env(made_by)),
            default_limits_unknown: true,
            mounts: mounts(self.mounts, &host.tmpfs, made_by),
            entrypoint: entrypoint(self.path, self.args, &self.config.cmd),
            command: self.config.cmd,
            env: self.config.env.iter().map(|pair| split_pair(pair)).collect(),
            user: filled(self.config.user),
            workdir: filled(self.config.working_dir),
            hostname: filled(self.config.hostname),
            resources: resources(host),
            read_only: host.readonly_rootfs,
            image_id: filled(self.image).map(|id| digest(&id)),
            image: self.image_name,
            labels: self.config.labels,
            id: InstanceId(self.id),
            name: self.name,
        }
    }
}

fn connected((name, connection): (String, Connection)) -> ObservedNetwork {
    let Connection { v4, v6, mut aliases } = connection;
    let mut addresses: Vec<IpAddr> = [v4, v6].iter().filter_map(|text| text.parse().ok()).collect();
    addresses.sort();
    aliases.sort();
    ObservedNetwork { name, addresses, aliases: Some(aliases) }
}

fn bound(ports: BTreeMap<String, Option<Vec<Binding>>>) -> Vec<Port> {
    let mut all = Vec::new();
    for (key, bindings) in ports {
        let (number, protocol) = key.split_once('/').unwrap_or((&key, "tcp"));
        let (Ok(container_port), Ok(protocol)) = (number.parse(), protocol.parse()) else {
            continue;
        };
        let spread = bindings.unwrap_or_default().into_iter().map(|binding| Port {
            host_ip: address(&binding.host_ip),
            host_port: binding.host_port.parse().ok(),
            container_port,
            protocol,
        });
        all.extend(spread);
    }
    all.sort();
    all
}

fn mounts(mounts: Vec<MountDocument>, tmpfs: &BTreeMap<String, String>, made_by: &[String]) -> Vec<ObservedMount> {
    let tmpfs = tmpfs.iter().map(|(target, options)| tmpfs_mount(target, options));
    let mut all: Vec<ObservedMount> = mounts.into_iter().map(MountDocument::observed).chain(tmpfs).collect();
    for (target, options) in setup::given_tmpfs(made_by) {
        if all.iter().all(|mount| mount.target != target) {
            all.push(tmpfs_mount(target, &options));
        }
    }
    if has_own_shm(made_by) {
        all.retain(|mount| mount.target != SHM);
    }
    for mount in &mut all {
        mount.given = setup::is_given(made_by, &mount.target);
    }
    all.sort_by(|a, b| a.target.cmp(&b.target));
    all
}

impl MountDocument {
    fn observed(self) -> ObservedMount {
        let mut options = self.options;
        options.extend(filled(self.propagation));
        options.sort();
        options.dedup();
        let source = if self.kind == "volume" { self.name } else { self.source };
        ObservedMount {
            target: self.destination,
            kind: self.kind,
            source,
            read_only: !self.writable,
            options,
            given: false,
        }
    }
}

fn tmpfs_mount(target: &str, options: &str) -> ObservedMount {
    let mut options: Vec<String> = options.split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect();
    let read_only = options.iter().any(|option| option == "ro");
    options.retain(|option| option != "ro" && option != "rw");
    options.sort();
    ObservedMount {
        target: target.to_owned(),
        kind: "tmpfs".to_owned(),
        source: String::new(),
        read_only,
        options,
        given: false,
    }
}

/// Podman 4 joins the entrypoint with spaces; what is run, less the init and the command, keeps its words apart.
pub(super) fn entrypoint(path: String, args: Vec<String>, command: &[String]) -> Vec<String> {
    let mut words: Vec<String> = std::iter::once(path).chain(args).filter(|word| !word.is_empty()).collect();
    let init = words.first().is_some_and(|word| setup::is_init(word));
    if init && words.get(1).is_some_and(|word| word == "--") {
        words.drain(..2);
    }
    if words.ends_with(command) {
        words.truncate(words.len() - command.len());
    }
    words
}

fn resources(host: &HostConfig) -> Resources {
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let quota = || positive(host.cpu_quota).zip(positive(host.cpu_period)).map(|(quota, period)| quota * 1000 / period);
    let cpus = positive(host.nano_cpus).map(|nanos| nanos / 1_000_000).or_else(quota);
    let mut ulimits: Vec<Ulimit> = host.ulimits.iter().map(UlimitDocument::limit).collect();
    ulimits.sort();
    Resources {
        memory: positive(host.memory).map(ByteSize),
        cpus: cpus.map(Millicores),
        pids: positive(host.pids_limit).and_then(|pids| u32::try_from(pids).ok()),
        shm_size: Some(ByteSize(host.shm_size)).filter(|size| size.0 > 0),
        ulimits,
    }
}

impl UlimitDocument {
    fn limit(&self) -> Ulimit {
        let name = self.name.trim_start_matches("RLIMIT_").to_lowercase();
        Ulimit { name, soft: self.soft, hard: self.hard }
    }
}
