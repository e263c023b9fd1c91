//! What an instance has of its plan, as the seam reports it.

use hythe_runtime::{NetworkMode, Observed, ObservedMount, ObservedSeccomp, ObservedSecurity, Plan, PlanNetwork};
use hythe_spec::{MountSource, Seccomp};

use crate::Command;

/// What follows from the plan and from the command that its image completes. The rest is left to the caller: who it is, its state and run, its
/// networks, its ports once they are known, and volumes of the image.
pub fn observed(plan: &Plan, command: &Command) -> Observed {
    let network_mode = match plan.network {
        PlanNetwork::None => NetworkMode::None,
        PlanNetwork::Host => NetworkMode::Host,
        PlanNetwork::Networks { .. } => NetworkMode::Networks,
    };
    Observed {
        image: plan.image.to_string(),
        ports: plan.ports.clone(),
        mounts: mounts(plan),
        entrypoint: command.entrypoint.clone(),
        command: command.command.clone(),
        env: command.env.clone(),
        explicit_env: Some(plan.env.keys().cloned().collect()),
        user: command.user.clone(),
        workdir: Some(command.workdir.clone()),
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
        stop_grace: Some(plan.stop_grace),
        security: security(plan),
        engine_restart: Some("no".to_owned()),
        ..Observed::default()
    }
}

fn mounts(plan: &Plan) -> Vec<ObservedMount> {
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
    let mut mounts: Vec<ObservedMount> = plan.all_mounts().iter().map(one).collect();
    mounts.sort_by(|one, other| one.target.cmp(&other.target));
    mounts
}

fn security(plan: &Plan) -> ObservedSecurity {
    let security = &plan.security;
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
