//! A plan as the body of `POST /containers/create`.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, DeviceMapping, DeviceRequest, EndpointSettings, HealthConfig, HostConfig, HostConfigLogConfig,
    NetworkingConfig, PortBinding, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use hythe_runtime::{Attachment, DEFAULT_PIDS, Plan, PlanNetwork, Security};
use hythe_spec::permissions::{CAPABILITIES, STANDARD_CAPABILITIES};
use hythe_spec::{Device, ImageRef, LogLimits, Port, Resources, Seccomp, Ulimit};

use super::Engine;
use super::mounts;
use crate::client::ApiVersion;

/// What dockerd calls the driver for names of the Container Device Interface.
pub(super) const CDI: &str = "cdi";
/// First version that connects several networks at create.
const SEVERAL_NETWORKS: ApiVersion = ApiVersion(1, 44);
const NANOS_PER_MILLICORE: u64 = 1_000_000;

/// What besides the plan decides how it is said.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// Who listens.
    pub(crate) engine: Engine,
    /// An unprivileged user's engine.
    pub(crate) rootless: bool,
    /// Version spoken.
    pub(crate) version: ApiVersion,
    /// The engine can limit processes. Podman has a limit of its own where it can.
    pub(crate) pids: bool,
    /// The engine relabels mounts.
    pub(crate) selinux: bool,
    /// Text of the plan's seccomp file, where it names one.
    pub(crate) seccomp: Option<String>,
    /// Hard limits of this process that are named although the plan does not, once it names others (Podman only).
    pub(crate) default_limits_unknown: Vec<Ulimit>,
    /// Size at which another log file is begun.
    pub(crate) log_file_bytes: u64,
    /// Log files kept.
    pub(crate) log_files: u32,
}

/// The whole document.
pub(crate) fn create(plan: &Plan, around: &Surroundings) -> ContainerCreateBody {
    let Plan {
        identity: _,
        image,
        entrypoint,
        command,
        env,
        annotations: _,
        ports,
        mounts: _,
        secrets: _,
        user,
        workdir,
        hostname,
        network,
        dns: _,
        extra_hosts: _,
        dns_search: _,
        dns_options: _,
        group_add: _,
        sysctls: _,
        devices: _,
        logs: _,
        // In the query; see `platform`.
        platform: _,
        // The agent probes.
        health: _,
        stop_signal,
        stop_grace,
        resources: _,
        read_only: _,
        init: _,
        tty,
        stdin,
        security: _,
        // Refused by capability: neither engine can hold a workload to such lists.
        outbound: _,
        inbound: _,
    } = plan;
    ContainerCreateBody {
        image: Some(reference(image)),
        entrypoint: entrypoint.clone().map(no_entrypoint),
        cmd: command.clone(),
        env: Some(env.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        labels: Some(plan.labels_and_annotations().into_iter().collect()),
        exposed_ports: Some(exposed(ports)),
        user: user.clone(),
        working_dir: workdir.clone(),
        hostname: (*network != PlanNetwork::Host).then(|| hostname.clone()),
        stop_signal: stop_signal.map(|signal| signal.to_string()),
        stop_timeout: Some(i64::try_from(stop_grace.seconds()).unwrap_or(i64::MAX)),
        tty: Some(*tty),
        open_stdin: Some(*stdin),
        // The end of an attached stdin is end of file for the process.
        stdin_once: Some(*stdin),
        healthcheck: Some(no_healthcheck()),
        host_config: Some(host_config(plan, around)),
        networking_config: networking(network, around),
        ..ContainerCreateBody::default()
    }
}

/// The reference that both engines resolve: a digest makes the tag meaningless, and Podman's API does not take both.
pub(crate) fn reference(image: &ImageRef) -> String {
    let only_digest = ImageRef { tag: image.tag.clone().filter(|_| image.digest.is_none()), ..image.clone() };
    only_digest.to_string()
}

/// Both engines read an empty list as "the image's"; one empty word takes the entrypoint away.
fn no_entrypoint(words: Vec<String>) -> Vec<String> {
    if words.is_empty() { vec![String::new()] } else { words }
}

/// Health is probed by the agent, with one meaning on every runtime; the image's own check is not run.
fn no_healthcheck() -> HealthConfig {
    HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }
}

fn host_config(plan: &Plan, around: &Surroundings) -> HostConfig {
    let Resources { memory, cpus, pids, shm_size, ulimits } = &plan.resources;
    let bytes = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
    let mounts = mounts::translate(&plan.all_mounts(), plan.read_only, around);
    // Docker gives by itself what every network of an instance's own has.
    let sysctls = match around.engine {
        Engine::Docker => plan.sysctls.clone(),
        Engine::Podman => plan.all_sysctls(around.rootless),
    };
    let mut config = HostConfig {
        memory: memory.map(|size| bytes(size.0)),
        memory_swap: memory.map(|size| bytes(size.0)),
        nano_cpus: cpus.map(|cpus| bytes(cpus.0.saturating_mul(NANOS_PER_MILLICORE))),
        pids_limit: pids.or((around.engine == Engine::Docker && around.pids).then_some(DEFAULT_PIDS)).map(i64::from),
        shm_size: shm_size.map(|size| bytes(size.0)),
        ulimits: (!ulimits.is_empty()).then(|| all_ulimits(ulimits, around)),
        port_bindings: Some(bindings(&plan.ports)),
        network_mode: Some(network_mode(&plan.network)),
        dns: (!plan.dns.is_empty()).then(|| plan.dns.iter().map(ToString::to_string).collect()),
        extra_hosts: (!plan.extra_hosts.is_empty()).then(|| plan.extra_hosts.iter().map(ToString::to_string).collect()),
        dns_search: (!plan.dns_search.is_empty()).then(|| plan.dns_search.clone()),
        dns_options: (!plan.dns_options.is_empty()).then(|| plan.dns_options.clone()),
        group_add: (!plan.group_add.is_empty()).then(|| plan.group_add.clone()),
        sysctls: (!sysctls.is_empty()).then(|| sysctls.into_iter().collect()),
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        log_config: Some(log_config(plan.logs.unwrap_or_default(), around)),
        readonly_rootfs: Some(plan.read_only),
        init: Some(plan.init),
        auto_remove: Some(false),
        mounts: mounts.mounts,
        binds: mounts.binds,
        tmpfs: mounts.tmpfs,
        ..HostConfig::default()
    };
    secure(&mut config, &plan.security, around);
    grant(&mut config, &plan.devices);
    config
}

fn secure(config: &mut HostConfig, security: &Security, around: &Surroundings) {
    let Security { capabilities, seccomp, no_new_privileges, privileged } = security;
    config.privileged = Some(*privileged);
    if !privileged {
        let (drop, add) = capability_lists(capabilities, around.engine);
        config.cap_drop = Some(drop);
        config.cap_add = Some(add);
    }
    let mut options = Vec::new();
    if *no_new_privileges {
        options.push("no-new-privileges".to_owned());
    }
    match (seccomp, around.engine) {
        (Seccomp::Default, _) => {}
        (Seccomp::Unconfined, _) => options.push("seccomp=unconfined".to_owned()),
        // Podman's API takes the file's path and reads it itself.
        (Seccomp::File(path), Engine::Podman) => options.push(format!("seccomp={path}")),
        (Seccomp::File(path), Engine::Docker) => {
            options.push(format!("seccomp={}", around.seccomp.as_ref().unwrap_or(path)))
        }
    }
    config.security_opt = (!options.is_empty()).then_some(options);
}

fn grant(config: &mut HostConfig, devices: &[Device]) {
    let (mut paths, mut names) = (Vec::new(), Vec::new());
    for device in devices {
        match device {
            Device::Path { path, target, access } => paths.push(DeviceMapping {
                path_on_host: Some(path.clone()),
                path_in_container: Some(target.clone()),
                cgroup_permissions: Some(access.clone()),
            }),
            Device::Cdi { name } => names.push(name.clone()),
        }
    }
    let request = DeviceRequest { driver: Some(CDI.to_owned()), device_ids: Some(names), ..DeviceRequest::default() };
    config.devices = (!paths.is_empty()).then_some(paths);
    config.device_requests = request.device_ids.as_ref().is_some_and(|names| !names.is_empty()).then(|| vec![request]);
}

/// What is dropped and what is added to have exactly these.
///
/// Podman's API gives added capabilities to processes of unprivileged users too, against what Docker and its own command do. There,
/// what its default has anyway is therefore kept, not dropped and added, and all else that the kernel knows is dropped by name.
fn capability_lists(wanted: &[String], engine: Engine) -> (Vec<String>, Vec<String>) {
    match engine {
        Engine::Docker => (vec!["ALL".to_owned()], wanted.to_vec()),
        Engine::Podman => {
            let is_wanted = |name: &&str| wanted.iter().any(|other| other == name);
            let drop = CAPABILITIES.iter().filter(|name| !is_wanted(name)).map(|name| (*name).to_owned()).collect();
            let add = wanted.iter().filter(|name| !STANDARD_CAPABILITIES.contains(&name.as_str())).cloned().collect();
            (drop, add)
        }
    }
}

/// A list of ulimits makes Podman forget its configured defaults for these two and raise them; they stay where they are instead.
fn all_ulimits(asked: &[Ulimit], around: &Surroundings) -> Vec<ResourcesUlimits> {
    let kept = around.default_limits_unknown.iter().filter(|limit| asked.iter().all(|other| other.name != limit.name));
    asked.iter().chain(kept).map(ulimit).collect()
}

fn ulimit(limit: &Ulimit) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(limit.name.clone()), soft: Some(limit.soft), hard: Some(limit.hard) }
}

/// Podman's log files are cut off, not rotated, at a limit: lines would be lost, so it gets none.
fn log_config(logs: LogLimits, around: &Surroundings) -> HostConfigLogConfig {
    match around.engine {
        Engine::Podman => HostConfigLogConfig { typ: Some("k8s-file".to_owned()), config: None },
        Engine::Docker => {
            let size = logs.max_size.map_or(around.log_file_bytes, |size| size.0);
            let files = logs.max_files.unwrap_or(around.log_files);
            let limits = [("max-size", size.to_string()), ("max-file", files.to_string())];
            let limits = limits.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(limits) }
        }
    }
}

fn port_key(port: &Port) -> String {
    format!("{}/{}", port.container_port, port.protocol)
}

fn exposed(ports: &[Port]) -> Vec<String> {
    let mut keys: Vec<String> = ports.iter().map(port_key).collect();
    keys.sort();
    keys.dedup();
    keys
}

fn bindings(ports: &[Port]) -> HashMap<String, Option<Vec<PortBinding>>> {
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in ports {
        let binding = PortBinding {
            host_ip: Some(port.host_ip.map(|ip| ip.to_string()).unwrap_or_default()),
            host_port: Some(port.host_port.map(|port| port.to_string()).unwrap_or_default()),
        };
        bindings.entry(port_key(port)).or_default().get_or_insert_default().push(binding);
    }
    bindings
}

fn network_mode(network: &PlanNetwork) -> String {
    match network {
        PlanNetwork::None => "none".to_owned(),
        PlanNetwork::Host => "host".to_owned(),
        PlanNetwork::Networks { attachments } => {
            attachments.first().map(|first| first.network.clone()).unwrap_or_default()
        }
    }
}

fn several_at_create(around: &Surroundings) -> bool {
    around.engine == Engine::Podman || around.version >= SEVERAL_NETWORKS
}

fn networking(network: &PlanNetwork, around: &Surroundings) -> Option<NetworkingConfig> {
    let PlanNetwork::Networks { attachments } = network else { return None };
    let at_create = if several_at_create(around) { attachments.len() } else { 1 };
    let endpoints = attachments.iter().take(at_create).map(|one| (one.network.clone(), endpoint(one))).collect();
    Some(NetworkingConfig { endpoints_config: Some(endpoints) })
}

/// dockerd's own network of that name resolves nothing and refuses names for its members.
pub(super) const WITHOUT_NAMES: &str = "bridge";

fn endpoint(attachment: &Attachment) -> EndpointSettings {
    let aliases = (attachment.network != WITHOUT_NAMES).then(|| attachment.aliases.clone());
    EndpointSettings { aliases, ..EndpointSettings::default() }
}

/// The kind of machine that the image must be for. Podman's service is not told: there the name means the image that was fetched for it.
pub(crate) fn platform(plan: &Plan, around: &Surroundings) -> Option<String> {
    plan.platform.as_ref().filter(|_| around.engine == Engine::Docker).map(ToString::to_string)
}

/// Networks to connect between create and start, because the engine takes only one at create.
pub(crate) fn later_networks(plan: &Plan, around: &Surroundings) -> BTreeMap<String, EndpointSettings> {
    match &plan.network {
        PlanNetwork::Networks { attachments } if !several_at_create(around) => {
            attachments.iter().skip(1).map(|one| (one.network.clone(), endpoint(one))).collect()
        }
        PlanNetwork::Networks { .. } | PlanNetwork::None | PlanNetwork::Host => BTreeMap::new(),
    }
}
