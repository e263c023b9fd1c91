//! What a guest boots with. Pure.

use hythe_guest::protocol::{self, Config, Interface, Limits, Port, Process, Protocol, Rlimit, Source};
use hythe_network::shim_network::{Names, Wanted};
use hythe_oci_spec::Command;
use hythe_runtime::{DEFAULT_PIDS, Plan, PlanNetwork};
use hythe_spec::{MountSource, Probe, Ulimit};

use super::{Instance, serial};

/// Where QEMU's own network puts its guest, and the way out of it.
const ADDRESS: &str = "10.0.2.15/24";
const GATEWAY: [u8; 4] = [10, 0, 2, 2];

/// The document, without names and name servers.
pub(super) fn config(plan: &Plan, command: &Command, stop_signal: i32, instance: &Instance) -> Config {
    let Plan {
        identity: _,
        image: _,
        // In the command, over what the image says.
        entrypoint: _,
        command: _,
        env: _,
        user: _,
        workdir: _,
        // Of the driver's own records.
        annotations: _,
        ports: _,
        mounts: _,
        // Refused by capability.
        secrets: _,
        devices: _,
        hostname,
        network,
        // In the instance's own files, which are read at the start.
        dns: _,
        extra_hosts: _,
        dns_search: _,
        dns_options: _,
        group_add,
        // With those that every network of its own has.
        sysctls: _,
        logs: _,
        // The store takes no image that this host does not run.
        platform: _,
        // The agent probes.
        health: _,
        stop_signal: _,
        stop_grace,
        resources,
        read_only,
        // A guest always has one.
        init: _,
        tty,
        stdin,
        security,
        outbound: _,
        inbound: _,
    } = plan;
    let process = Process {
        args: command.arguments(),
        env: command.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        user: command.user.clone(),
        groups: group_add.clone(),
        cwd: Some(command.workdir.clone()),
        terminal: *tty,
        size: None,
        rlimits: resources.ulimits.iter().map(rlimit).collect(),
        no_new_privileges: security.no_new_privileges && !security.privileged,
    };
    Config {
        stdin: *stdin,
        hostname: Some(hostname.clone()),
        network: interfaces(network),
        mounts: mounts(plan),
        read_only_root: *read_only,
        sysctls: plan.all_sysctls(false),
        limits: Limits {
            memory: resources.memory.map(|memory| memory.0),
            cpus: resources.cpus.map(|cpus| cpus.0),
            pids: Some(resources.pids.unwrap_or(DEFAULT_PIDS)),
        },
        ports: ports(plan, instance),
        stop_signal,
        stop_grace_ms: stop_grace.0,
        ..Config::new(process)
    }
}

fn interfaces(network: &PlanNetwork) -> Vec<Interface> {
    match network {
        PlanNetwork::None | PlanNetwork::Host => Vec::new(),
        PlanNetwork::Networks { .. } => vec![Interface {
            addresses: vec![ADDRESS.to_owned()],
            gateways: vec![GATEWAY.into()],
            ..Interface::default()
        }],
    }
}

fn rlimit(limit: &Ulimit) -> Rlimit {
    let value = |value: i64| u64::try_from(value).ok();
    Rlimit { name: limit.name.clone(), soft: value(limit.soft), hard: value(limit.hard) }
}

/// What always holds for shared memory.
const SHM: [&str; 3] = ["nosuid", "nodev", "noexec"];

fn mounts(plan: &Plan) -> Vec<protocol::Mount> {
    let shm = plan.resources.shm_size.map(|size| protocol::Mount {
        source: Source::Tmpfs { size: Some(size.0), mode: Some(0o1777), options: SHM.map(str::to_owned).to_vec() },
        target: "/dev/shm".to_owned(),
        read_only: false,
    });
    let given = plan.mounts.iter().enumerate().filter_map(|(at, mount)| {
        let source = match &mount.source {
            MountSource::Volume { .. } => Source::Disk { serial: serial(at), copy_up: !mount.read_only },
            MountSource::Tmpfs { size, mode, options: more } => {
                let closed = more.protections().into_iter().filter(|word| word.starts_with("no"));
                let options = more.limits().into_iter().chain(closed.map(str::to_owned)).collect();
                Source::Tmpfs { size: size.map(|size| size.0), mode: *mode, options }
            }
            // Refused by capability.
            MountSource::Bind { .. } => return None,
        };
        Some(protocol::Mount { source, target: mount.target.clone(), read_only: mount.read_only })
    });
    shm.into_iter().chain(given).collect()
}

/// Ports that are handed on to the guest once it listens there: every one, as peers may ask for any, and by name those of UDP that look
/// like a client's.
fn ports(plan: &Plan, instance: &Instance) -> Vec<Port> {
    let published = plan.ports.iter().map(|port| Port {
        port: port.container_port,
        protocol: match port.protocol {
            hythe_spec::Protocol::Udp => Protocol::Udp,
            hythe_spec::Protocol::Tcp | hythe_spec::Protocol::Sctp => Protocol::Tcp,
        },
    });
    let every = Port { port: 0, protocol: Protocol::Tcp };
    let probed = plan.health.as_ref().and_then(|health| match &health.probe {
        Probe::Http(probe) => Some(probe.port),
        Probe::Grpc { port, .. } | Probe::Tcp { port } => Some(*port),
        Probe::Exec { .. } => None,
    });
    let probed = probed.map(|port| Port { port, protocol: Protocol::Tcp });
    let mut all: Vec<Port> = Vec::new();
    for port in [every].into_iter().chain(published).chain(probed).chain(instance.exposed.iter().copied()) {
        if !all.contains(&port) {
            all.push(port);
        }
    }
    all
}

/// What connects the namespace that QEMU is in.
pub(super) fn wanted(plan: &Plan, instance: &Instance) -> Wanted {
    let attachments = match &plan.network {
        PlanNetwork::Networks { attachments } => attachments.clone(),
        PlanNetwork::None | PlanNetwork::Host => Vec::new(),
    };
    let servers = Some(plan.dns.clone()).filter(|servers| !servers.is_empty());
    Wanted {
        directory: instance.networks.clone(),
        attachments,
        hostname: plan.hostname.clone(),
        extra_hosts: plan.extra_hosts.clone(),
        ports: plan.ports.clone(),
        names: Some(Names { servers, file: instance.directory.join("resolv.conf") }),
    }
}
