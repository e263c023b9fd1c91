//! A plan in the words of the OCI runtime specification and of the supervisor. Pure.

use std::path::{Path, PathBuf};

use hythe_local::image_volumes::copy_up;
use hythe_network::shim_network::{Names, Wanted};
use hythe_oci_spec::{Command, Host, Paths, Spec, spec};
use hythe_runtime::{Error, ErrorKind, Plan, PlanNetwork, Result};
use hythe_shim::record::{Config, Granted, LogBounds, Process, RootMount};
use hythe_spec::{Device, LogLimits};
use serde_json::{Value, json};

use crate::init::TARGET;

const LOG_SEGMENTS: u64 = 5;

/// The instance that a plan is translated for.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) paths: Paths,
    pub(crate) rootfs: Vec<RootMount>,
    /// Directory of the networks.
    pub(crate) networks: PathBuf,
    /// The seccomp profile as `linux.seccomp`; null: none.
    pub(crate) seccomp: Value,
    /// The program that becomes pid 1 where the plan asks for an init.
    pub(crate) init: Option<PathBuf>,
    /// Bytes of a log segment where a plan does not say.
    pub(crate) log_segment: u64,
}

/// What the supervisor is given, the specification among it.
pub(crate) fn supervisor_config(
    operation: &'static str,
    plan: &Plan,
    command: &Command,
    instance: &Instance,
    host: &Host,
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
        // In the instance's files.
        dns_search: _,
        dns_options: _,
        group_add,
        sysctls: _,
        devices,
        logs,
        platform: _,
        // The agent probes.
        health: _,
        stop_signal: _,
        stop_grace: _,
        resources: _,
        read_only: _,
        // By `init`.
        init: _,
        tty,
        stdin: _,
        security,
        outbound: _,
        inbound: _,
    } = plan;
    // Without networks of ours the engine sees to the namespace.
    let wanted = match network {
        PlanNetwork::None | PlanNetwork::Host => Value::Null,
        PlanNetwork::Networks { attachments } => json!(Wanted {
            directory: instance.networks.clone(),
            attachments: attachments.clone(),
            hostname: hostname.clone(),
            extra_hosts: extra_hosts.clone(),
            ports: ports.clone(),
            names: Some(Names {
                servers: (!dns.is_empty()).then(|| dns.clone()),
                file: instance.paths.resolv_conf.clone(),
            }),
        }),
    };
    Ok(Config {
        id: instance.id.clone(),
        metadata: Value::Null,
        layers: Vec::new(),
        rootfs: instance.rootfs.clone(),
        spec: specification(operation, plan, command, instance, host)?,
        process: Process {
            arguments: arguments(plan, command, instance),
            user: command.user.clone(),
            groups: group_add.clone(),
            workdir: command.workdir.clone(),
            capabilities: host.capabilities_of(security),
            no_new_privileges: security.no_new_privileges && !security.privileged,
            filters: Vec::new(),
            init: false,
            tty: *tty,
            stdin: false,
        },
        copy_up: copy_up(plan, &instance.paths),
        devices: devices.iter().filter_map(granted).collect(),
        own_network: !matches!(network, PlanNetwork::Host),
        user_namespace: None,
        network: wanted,
        logs: bounds(logs.unwrap_or_default(), instance.log_segment),
        journal: PathBuf::new(),
    })
}

fn init<'a>(plan: &Plan, instance: &'a Instance) -> Option<&'a Path> {
    instance.init.as_deref().filter(|_| plan.init)
}

fn arguments(plan: &Plan, command: &Command, instance: &Instance) -> Vec<String> {
    let before = init(plan, instance).map(|_| [TARGET.to_owned(), "--".to_owned()]);
    before.into_iter().flatten().chain(command.arguments()).collect()
}

fn specification(
    operation: &'static str,
    plan: &Plan,
    command: &Command,
    instance: &Instance,
    host: &Host,
) -> Result<Value> {
    let spec: Spec = spec(operation, plan, command, &instance.paths, host)?;
    let mut document =
        serde_json::to_value(spec).map_err(|error| Error::new(ErrorKind::Internal, operation, error.to_string()))?;
    // In the order of no hash, so that one plan is one document.
    for set in document["process"]["capabilities"].as_object_mut().into_iter().flat_map(|sets| sets.values_mut()) {
        if let Some(names) = set.as_array_mut() {
            names.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
        }
    }
    if !instance.seccomp.is_null() {
        document["linux"]["seccomp"] = instance.seccomp.clone();
    }
    if let (Some(program), Some(mounts)) = (init(plan, instance), document["mounts"].as_array_mut()) {
        let options = ["bind", "rprivate", "ro", "nosuid", "nodev"];
        mounts.push(json!({ "destination": TARGET, "type": "bind", "source": program, "options": options }));
    }
    Ok(document)
}

fn bounds(logs: LogLimits, segment: u64) -> LogBounds {
    LogBounds {
        segment: logs.max_size.map_or(segment, |size| size.0),
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
