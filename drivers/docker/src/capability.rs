//! What the engine that was found can honour.

use hythe_runtime::{Capability, Feature};

use crate::Config;
use crate::native::Info;
use crate::translate::Engine;

const NO_LISTS: &str = "the engine cannot hold a workload to a list of hosts or ports yet";

/// The capability of a configured engine.
pub(crate) fn capability(info: &Info, config: &Config, engine: Engine, local: bool) -> Capability {
    let mut capability = Capability::of(Feature::ALL)
        .without(Feature::EgressAllowList, NO_LISTS)
        .without(Feature::IngressAllowList, NO_LISTS);
    for (feature, controller, there) in [
        (Feature::MemoryLimit, "memory", info.memory_limit),
        (Feature::CpuLimit, "cpu", info.cpu_cfs_quota),
        (Feature::PidsLimit, "pids", info.pids_limit),
    ] {
        if !there {
            capability = capability.without(feature, format!("the engine has no `{controller}` controller of cgroups"));
        }
    }
    if !has_security(info, "seccomp") {
        let reason = "the engine was built or started without seccomp";
        capability = capability.without(Feature::SeccompDefault, reason).without(Feature::SeccompFile, reason);
    }
    if engine == Engine::Podman {
        let nat =
            "podman forwards ports by NAT, which does not reach an instance from an IPv6 host address on its networks";
        capability = capability
            .without(Feature::HostGateway, "Podman's Docker API does not know `host-gateway`")
            .without(Feature::PublishIpv6, nat)
            .without(Feature::BindsWithComma, "Podman's Docker API takes the comma for a separator")
            .without(
                Feature::IsolatedNetworks,
                "podman's network backend forgets the rule when any such network is torn down",
            );
    }
    if engine == Engine::Podman && !local {
        capability = capability
            .without(Feature::SeccompFile, "Podman reads the file itself, and this one is on another machine")
            .without(
                Feature::Binds,
                "Podman's Docker API makes missing paths, and on another machine that cannot be checked",
            );
    }
    if !config.allow_privileged {
        capability =
            capability.without(Feature::Privileged, "not allowed in the agent's configuration (`allow_privileged`)");
    }
    capability
}

/// Whether `GET /info` names a security option (`name=seccomp,profile=default`).
pub(crate) fn has_security(info: &Info, name: &str) -> bool {
    let wanted = format!("name={name}");
    info.security_options.iter().any(|option| option.split(',').any(|part| part == wanted || part == name))
}

/// What works but should be known.
pub(crate) fn warnings(info: &Info) -> Vec<String> {
    let mut warnings = info.warnings.clone();
    let lacks = [
        (info.memory_limit, "memory limits"),
        (info.cpu_cfs_quota, "cpu limits"),
        (info.pids_limit, "limits of processes"),
    ];
    warnings.extend(
        lacks
            .into_iter()
            .filter(|(there, _)| !there)
            .map(|(_, what)| format!("no {what}: the cgroup controller is missing")),
    );
    if info.memory_limit && !info.swap_limit {
        warnings.push("swap cannot be limited: a memory limit leaves swap open".to_owned());
    }
    warnings
}
