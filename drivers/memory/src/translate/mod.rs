//! From what the engine records to what is observed; it takes values and returns values.

use std::net::{IpAddr, Ipv4Addr};

use hythe_runtime::{
    Attachment, NetworkMode, Observed, ObservedMount, ObservedNetwork, ObservedSeccomp, ObservedSecurity, Plan,
    PlanNetwork, Security,
};
use hythe_spec::{Mount, MountSource, Seccomp};

use crate::instance::Instance;

/// The plan as it is: the engine takes it whole.
pub(crate) fn explain(plan: &Plan) -> serde_json::Value {
    serde_json::json!({ "name": plan.name(), "labels": plan.labels_and_annotations(), "plan": plan })
}

pub(crate) fn observed(instance: &Instance) -> Observed {
    let (entrypoint, command) = instance.arguments();
    // Left out is what the instance itself has, resolved against its image or as the engine knows it.
    let Plan {
        identity: _,
        image,
        entrypoint: _,
        command: _,
        env: explicit_env,
        annotations: _,
        ports: _,
        mounts: _,
        secrets: _,
        user: _,
        workdir: _,
        hostname,
        network,
        dns,
        extra_hosts,
        dns_search,
        dns_options,
        group_add,
        sysctls,
        devices,
        logs,
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
        security: permissions,
        outbound: _,
        inbound: _,
    } = &instance.plan;
    Observed {
        id: instance.id.clone(),
        name: instance.name.clone(),
        labels: instance.labels.clone(),
        identity: instance.identity.clone(),
        image: image.to_string(),
        image_id: Some(instance.image_id.clone()),
        state: instance.state(),
        pending: instance.pending.clone(),
        pid: None,
        created: Some(instance.created),
        started: instance.started,
        finished: instance.finished,
        restarts: 0,
        exit: instance.exit.clone(),
        health: None,
        networks: networks(instance, network),
        ports: instance.ports.clone(),
        mounts: instance.plan.all_mounts().iter().map(observed_mount).collect(),
        entrypoint,
        command,
        env: instance.env(),
        explicit_env: Some(explicit_env.keys().cloned().collect()),
        user: instance.user(),
        workdir: instance.workdir(),
        hostname: Some(hostname.clone()),
        network_mode: network_mode(network),
        dns: Some(dns.clone()),
        extra_hosts: Some(sorted(extra_hosts.clone())),
        dns_search: Some(dns_search.clone()),
        dns_options: Some(dns_options.clone()),
        group_add: Some(group_add.clone()),
        sysctls: Some(sysctls.clone()),
        devices: Some(devices.clone()),
        logs: *logs,
        resources: resources.clone(),
        default_limits_unknown: false,
        read_only: *read_only,
        init: Some(*init),
        tty: Some(*tty),
        stdin: Some(*stdin),
        stop_signal: stop_signal.or(instance.config.stop_signal),
        stop_grace: Some(*stop_grace),
        security: security(permissions),
        engine_restart: Some("no".to_owned()),
        auto_remove: false,
        unmodelled: Vec::new(),
    }
}

fn networks(instance: &Instance, network: &PlanNetwork) -> Vec<ObservedNetwork> {
    let PlanNetwork::Networks { attachments } = network else { return Vec::new() };
    let address = |at: usize| IpAddr::V4(Ipv4Addr::new(10, 89, u8::try_from(at).unwrap_or(u8::MAX), instance.number));
    let observe = |(at, attachment): (usize, &Attachment)| {
        let aliases = Some(sorted(attachment.aliases.clone()));
        let addresses = if instance.run.is_some() { vec![address(at)] } else { Vec::new() };
        ObservedNetwork { name: attachment.network.clone(), addresses, aliases }
    };
    let mut networks: Vec<ObservedNetwork> = attachments.iter().enumerate().map(observe).collect();
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    networks
}

fn observed_mount(mount: &Mount) -> ObservedMount {
    let (kind, source) = match &mount.source {
        MountSource::Volume { name, .. } => ("volume", name.clone()),
        MountSource::Bind { path, .. } => ("bind", path.clone()),
        MountSource::Tmpfs { .. } => ("tmpfs", String::new()),
    };
    ObservedMount {
        target: mount.target.clone(),
        kind: kind.to_owned(),
        source,
        read_only: mount.read_only,
        options: options_of(&mount.source),
        given: true,
    }
}

/// In the words that engines have for them.
fn options_of(source: &MountSource) -> Vec<String> {
    match source {
        MountSource::Volume { .. } => Vec::new(),
        MountSource::Bind { propagation, .. } => propagation.iter().cloned().collect(),
        MountSource::Tmpfs { size, mode, options } => {
            let mode = mode.map(|mode| format!("mode={mode:o}"));
            let size = size.map(|size| format!("size={}", size.0));
            mode.into_iter().chain(size).chain(options.words()).collect()
        }
    }
}

fn network_mode(network: &PlanNetwork) -> NetworkMode {
    match network {
        PlanNetwork::None => NetworkMode::None,
        PlanNetwork::Host => NetworkMode::Host,
        PlanNetwork::Networks { .. } => NetworkMode::Networks,
    }
}

fn security(security: &Security) -> ObservedSecurity {
    let Security { capabilities, seccomp, no_new_privileges, privileged } = security;
    let seccomp = match seccomp {
        Seccomp::Default => ObservedSeccomp::Default,
        Seccomp::Unconfined => ObservedSeccomp::Unconfined,
        Seccomp::File(_) => ObservedSeccomp::Profile,
    };
    ObservedSecurity {
        capabilities: Some(capabilities.clone()),
        privileged: Some(*privileged),
        seccomp: Some(seccomp),
        no_new_privileges: Some(*no_new_privileges),
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}
