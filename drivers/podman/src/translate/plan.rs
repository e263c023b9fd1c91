//! A plan as podman's document: the same plan always gives the same one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hythe_runtime::{Attachment, Error, ErrorKind, Plan, PlanNetwork, Result, Security};
use hythe_spec::{Device, ExtraHost, HostAddress, Port, Resources, Seccomp, Ulimit};

use super::mounts::SHM;
use super::{Settings, native_image};
use crate::api_types::{
    ContainerSpec, CpuLimit, DeviceSpec, HealthConfig, LogConfiguration, MemoryLimit, NetworkOptions, PidsLimit,
    PortMapping, ResourceLimits, RlimitSpec,
};

/// The word that names the variables that podman read from a file, for earlier versions of this driver.
pub(super) const FILE_NAMES: &str = "--annotation=hythe.env=";
/// Where podman looks for the seccomp profile that it tells of a container.
const SECCOMP: &str = "io.podman.annotations.seccomp";
/// Microseconds in which a share of a processor is counted.
const CPU_PERIOD: u64 = 100_000;

/// The document that makes an instance.
///
/// # Errors
/// `Unsupported` where the plan needs the host's address and this host has none.
pub(crate) fn container_spec(plan: &Plan, settings: &Settings) -> Result<ContainerSpec> {
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
        dns,
        extra_hosts,
        dns_search,
        dns_options,
        group_add,
        sysctls: _,
        devices,
        logs,
        // The name means the image that was fetched for it.
        platform: _,
        // The agent probes.
        health: _,
        stop_signal,
        stop_grace,
        resources,
        read_only,
        init,
        tty,
        stdin,
        security,
        outbound: _,
        inbound: _,
    } = plan;
    // The number of files is refused by capability.
    let log_size = logs.and_then(|logs| logs.max_size).unwrap_or(settings.log_max_size);
    let native = native_image(image);
    let mut spec = ContainerSpec {
        name: plan.name(),
        raw_image_name: native.clone(),
        image: native,
        entrypoint: entrypoint.as_deref().map(words_or_none),
        command: command.clone().unwrap_or_default(),
        env: env.clone(),
        labels: plan.labels_and_annotations(),
        terminal: *tty,
        stdin: *stdin,
        init: *init,
        stop_signal: stop_signal.map(|signal| signal.0),
        stop_timeout: stop_grace.seconds(),
        log_configuration: LogConfiguration { driver: "k8s-file", size: log_size.0 },
        user: user.clone(),
        work_dir: workdir.clone(),
        groups: group_add.clone(),
        sysctl: plan.all_sysctls(settings.rootless),
        hostadd: extra_hosts.iter().map(|host| host_line(host, settings.host)).collect::<Result<_>>()?,
        read_only_filesystem: *read_only,
        resource_limits: limits(resources),
        r_limits: rlimits(&resources.ulimits, &settings.rlimits),
        shm_size: resources.shm_size.map(|size| size.0),
        ..always()
    };
    spec.given(env.keys(), devices);
    spec.network(network, ports, hostname);
    if *network != PlanNetwork::None {
        // Podman refuses them where there is no network.
        (spec.dns_server, spec.dns_search, spec.dns_option) = (dns.clone(), dns_search.clone(), dns_options.clone());
    }
    plan.all_mounts().iter().for_each(|mount| spec.mount(mount));
    if *read_only && settings.read_only_shm && !plan.all_mounts().iter().any(|mount| mount.target == SHM) {
        spec.writable_shm(resources.shm_size);
    }
    spec.security(security, &settings.default_capabilities);
    Ok(spec)
}

/// What is the same for every plan: nothing is restarted, probed or inherited by podman itself.
fn always() -> ContainerSpec {
    ContainerSpec {
        image_volume_mode: "anonymous",
        restart_policy: "no",
        systemd: "false",
        sdnotify_mode: "ignore",
        healthconfig: HealthConfig { test: vec!["NONE"] },
        create_command: ["podman", "create"].map(str::to_owned).into(),
        ..ContainerSpec::default()
    }
}

/// `[]` would let podman fall back to the image's command; `[""]` is "none at all".
fn words_or_none(words: &[String]) -> Vec<String> {
    if words.is_empty() { vec![String::new()] } else { words.to_vec() }
}

fn host_line(host: &ExtraHost, own: Option<IpAddr>) -> Result<String> {
    let ExtraHost { name, address } = host;
    let address = match address {
        HostAddress::Ip(address) => *address,
        HostAddress::HostGateway => own.ok_or_else(no_host_address)?,
    };
    Ok(format!("{name}:{address}"))
}

fn no_host_address() -> Error {
    Error::new(ErrorKind::Unsupported, "translate", "`host-gateway`: this host has no address an instance could reach")
        .hint("name an address in `extra_hosts`")
}

fn limits(resources: &Resources) -> ResourceLimits {
    let Resources { memory, cpus, pids, shm_size: _, ulimits: _ } = resources;
    ResourceLimits {
        memory: memory.map(|memory| MemoryLimit { limit: memory.0, swap: memory.0 }),
        cpu: cpus.map(|cpus| CpuLimit { quota: cpus.0.saturating_mul(CPU_PERIOD) / 1000, period: CPU_PERIOD }),
        pids: pids.map(|limit| PidsLimit { limit }),
    }
}

/// Those of the plan; where it has some, also those that podman would raise beyond what this host allows.
fn rlimits(wanted: &[Ulimit], highest: &[Ulimit]) -> Vec<RlimitSpec> {
    let left_out = |rlimit: &&Ulimit| !wanted.is_empty() && wanted.iter().all(|limit| limit.name != rlimit.name);
    let all = wanted.iter().chain(highest.iter().filter(left_out));
    let native = |Ulimit { name, soft, hard }: &Ulimit| RlimitSpec {
        kind: name.clone(),
        soft: soft.cast_unsigned(),
        hard: hard.cast_unsigned(),
    };
    all.map(native).collect()
}

impl ContainerSpec {
    /// Podman tells later how a container was made, but not what of it was asked for: the command line does, that would make it.
    /// It has the names of variables, and no value of them.
    fn given<'a>(&mut self, variables: impl Iterator<Item = &'a String>, devices: &[Device]) {
        let words = &mut self.create_command;
        words.extend(variables.map(|name| format!("--env={name}")));
        words.extend(self.sysctl.iter().map(|(name, value)| format!("--sysctl={name}={value}")));
        words.extend(devices.iter().map(|device| format!("--device={device}")));
        self.devices = devices.iter().map(|device| DeviceSpec { path: device.to_string() }).collect();
    }

    fn network(&mut self, network: &PlanNetwork, ports: &[Port], hostname: &str) {
        self.hostname = (*network != PlanNetwork::Host).then(|| hostname.to_owned());
        self.netns.nsmode = match network {
            PlanNetwork::None => "none",
            PlanNetwork::Host => "host",
            PlanNetwork::Networks { attachments } => {
                self.networks = joined(attachments);
                self.portmappings = ports.iter().map(published).collect();
                "bridge"
            }
        };
    }

    fn security(&mut self, security: &Security, defaults: &[String]) {
        let Security { capabilities, seccomp, no_new_privileges, privileged } = security;
        (self.privileged, self.no_new_privileges) = (*privileged, *no_new_privileges);
        if !privileged {
            self.capabilities(capabilities, defaults);
        }
        self.seccomp_profile_path = match seccomp {
            Seccomp::Default => None,
            Seccomp::Unconfined => Some("unconfined".to_owned()),
            Seccomp::File(path) => Some(path.clone()),
        };
        self.annotations.extend(self.seccomp_profile_path.clone().map(|path| (SECCOMP.to_owned(), path)));
    }

    /// Exactly these. Told as the difference to podman's own set: what is added by name becomes effective for
    /// an unprivileged user too, while the default set only bounds it, as on every other engine.
    fn capabilities(&mut self, wanted: &[String], defaults: &[String]) {
        self.cap_drop = if wanted.is_empty() || defaults.is_empty() {
            vec!["ALL".to_owned()]
        } else {
            defaults.iter().filter(|name| !wanted.contains(name)).cloned().collect()
        };
        self.cap_add = wanted.iter().filter(|name| !defaults.contains(name)).cloned().collect();
    }
}

fn joined(attachments: &[Attachment]) -> BTreeMap<String, NetworkOptions> {
    let options =
        |Attachment { network, aliases }: &Attachment| (network.clone(), NetworkOptions { aliases: aliases.clone() });
    attachments.iter().map(options).collect()
}

fn published(port: &Port) -> PortMapping {
    let Port { host_ip, host_port, container_port, protocol } = port;
    PortMapping {
        host_ip: host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        container_port: *container_port,
        host_port: host_port.unwrap_or_default(),
        range: 1,
        protocol: protocol.to_string(),
    }
}
