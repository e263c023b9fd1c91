//! A plan in the words of the OCI runtime specification and of the shim. Pure.

use std::net::IpAddr;
use std::path::PathBuf;

use hythe_local::image_volumes::copy_up;
use hythe_network::shim_network::{Names, Wanted};
use hythe_oci_spec::{Command, Host, Paths, Spec, spec};
use hythe_runtime::{Error, ErrorKind, Plan, PlanNetwork, Result};
use hythe_shim::Filter;
use hythe_shim::record::{Config, Granted, LogBounds, Process};
use hythe_spec::{Device, LogLimits};
use serde_json::{Value, json};

/// The instance that a plan is translated for.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) id: String,
    /// Told with every event.
    pub(crate) metadata: Value,
    pub(crate) layers: Vec<PathBuf>,
    pub(crate) journal: PathBuf,
    pub(crate) paths: Paths,
    pub(crate) networks: PathBuf,
    /// The servers behind the instance's own name server; absent: the host's, as they are when a query comes.
    pub(crate) name_servers: Option<Vec<IpAddr>>,
}

/// What a translation needs to know of the host and of this runtime.
#[derive(Debug, Clone)]
pub(crate) struct HostFacts {
    pub(crate) spec: Host,
    /// Bytes of a log segment where a plan does not say.
    pub(crate) log_segment: u64,
    /// Place of the user namespace that a rootless agent's instances live in; none for root.
    pub(crate) user_namespace: Option<PathBuf>,
    /// The cgroup above those of instances; absent: they have none.
    pub(crate) cgroups: Option<PathBuf>,
    /// There is a program for the outbound traffic of rootless networks.
    pub(crate) outward: bool,
}

const LOG_SEGMENTS: u64 = 5;

/// What the shim is given.
pub(crate) fn shim_config(
    operation: &'static str,
    plan: &Plan,
    command: &Command,
    filters: Vec<Filter>,
    instance: &Instance,
    host: &HostFacts,
) -> Result<Config> {
    let Plan {
        identity: _,
        image: _,
        entrypoint: _,
        command: _,
        env: _,
        annotations: _,
        ports,
        // By `copy_up` and in the specification.
        mounts: _,
        secrets: _,
        user: _,
        workdir: _,
        hostname,
        network,
        dns,
        extra_hosts,
        dns_search: _,
        dns_options: _,
        group_add,
        sysctls: _,
        devices,
        logs,
        // The store takes no image that this host does not run.
        platform: _,
        // The agent probes.
        health: _,
        stop_signal: _,
        stop_grace: _,
        resources: _,
        read_only: _,
        init,
        tty,
        stdin,
        security,
        outbound: _,
        inbound: _,
    } = plan;
    let attachments = match network {
        PlanNetwork::Networks { attachments } => attachments.clone(),
        PlanNetwork::None | PlanNetwork::Host => Vec::new(),
    };
    let wanted = Wanted {
        directory: instance.networks.clone(),
        hostname: hostname.clone(),
        extra_hosts: extra_hosts.clone(),
        ports: if attachments.is_empty() { Vec::new() } else { ports.clone() },
        names: (!attachments.is_empty()).then(|| names(dns, instance)),
        attachments,
    };
    Ok(Config {
        id: instance.id.clone(),
        metadata: instance.metadata.clone(),
        layers: instance.layers.clone(),
        rootfs: Vec::new(),
        spec: specification(operation, plan, command, instance, &host.spec)?,
        process: Process {
            arguments: command.arguments(),
            user: command.user.clone(),
            groups: group_add.clone(),
            workdir: command.workdir.clone(),
            capabilities: host.spec.capabilities_of(security),
            no_new_privileges: security.no_new_privileges && !security.privileged,
            filters,
            init: *init,
            tty: *tty,
            stdin: *stdin,
        },
        copy_up: copy_up(plan, &instance.paths),
        devices: devices.iter().filter_map(granted).collect(),
        own_network: !matches!(network, PlanNetwork::Host),
        user_namespace: host.user_namespace.clone(),
        network: json!(wanted),
        logs: bounds(logs.unwrap_or_default(), host),
        journal: instance.journal.clone(),
    })
}

/// Without what the shim sees to itself: the user, whom it looks up in the image, and what depends on the user.
fn specification(
    operation: &'static str,
    plan: &Plan,
    command: &Command,
    instance: &Instance,
    host: &Host,
) -> Result<Value> {
    let mut spec: Spec = spec(operation, plan, command, &instance.paths, host)?;
    if let Some(process) = spec.process_mut() {
        process.set_args(None).set_terminal(None).set_capabilities(None).set_no_new_privileges(None);
    }
    serde_json::to_value(spec).map_err(|error| Error::new(ErrorKind::Internal, operation, error.to_string()))
}

fn bounds(logs: LogLimits, host: &HostFacts) -> LogBounds {
    LogBounds {
        segment: logs.max_size.map_or(host.log_segment, |size| size.0),
        segments: logs.max_files.map_or(LOG_SEGMENTS, u64::from),
    }
}

/// Names of CDI are refused by capability.
fn granted(device: &Device) -> Option<Granted> {
    match device {
        Device::Path { path, target, access } => {
            Some(Granted { path: path.clone(), target: target.clone(), access: access.clone() })
        }
        Device::Cdi { .. } => None,
    }
}

fn names(dns: &[IpAddr], instance: &Instance) -> Names {
    let servers = if dns.is_empty() { instance.name_servers.clone() } else { Some(dns.to_vec()) };
    Names { servers, file: instance.paths.resolv_conf.clone() }
}
