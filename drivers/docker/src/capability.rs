//! What the engine that was found can honour.

use hythe_runtime::platforms::runnable_platforms;
use hythe_runtime::podman::{NO_ISOLATED_NETWORKS, NO_PUBLISH_IPV6};
use hythe_runtime::{Capability, Feature};
use hythe_spec::Isolation;

use crate::Config;
use crate::api_types::Info;
use crate::client::ApiVersion;
use crate::translate::Engine;

const NO_LISTS: &str = "the engine cannot filter connections by host or port; not implemented";

/// First version that takes names of the Container Device Interface.
const CDI: ApiVersion = ApiVersion(1, 44);

/// The capability of a configured engine.
pub(crate) fn capability(info: &Info, config: &Config, engine: Engine, version: ApiVersion, local: bool) -> Capability {
    let mut capability = Capability::of(Feature::ALL)
        .isolated_by(Isolation::Container)
        .without(Feature::EgressAllowList, NO_LISTS)
        .without(Feature::IngressAllowList, NO_LISTS);
    for (feature, controller, there) in [
        (Feature::MemoryLimit, "memory", info.memory_limit),
        (Feature::CpuLimit, "cpu", info.cpu_cfs_quota),
        (Feature::PidsLimit, "pids", info.pids_limit),
    ] {
        if !there {
            capability = capability.without(feature, format!("the engine has no cgroup controller `{controller}`"));
        }
    }
    if !has_security(info, "seccomp") {
        let reason = "the engine was built or started without seccomp";
        capability = capability.without(Feature::SeccompDefault, reason).without(Feature::SeccompFile, reason);
    }
    if engine == Engine::Podman {
        let logs = "Podman's Docker API would truncate the log in the middle of a line";
        capability = capability
            .without(Feature::LogSize, logs)
            .without(Feature::LogFiles, logs)
            .without(Feature::CdiDevices, "Podman's Docker API has no field for them")
            .without(Feature::HostGateway, "Podman's Docker API does not know `host-gateway`")
            .without(Feature::PublishIpv6, NO_PUBLISH_IPV6)
            .without(Feature::TmpfsOwner, "Podman has no option for the owner of a tmpfs; give it a `mode`")
            .without(Feature::TmpfsInodes, "Podman has no option for the number of inodes; limit the `size`")
            .without(Feature::IsolatedNetworks, NO_ISOLATED_NETWORKS);
    }
    if engine == Engine::Docker && version < CDI {
        capability = capability.without(Feature::CdiDevices, "needs Docker 25 (API 1.44) or newer");
    }
    if engine == Engine::Podman && !local {
        capability = capability
            .without(Feature::SeccompFile, "Podman reads the file itself, and it is on another host")
            .without(
                Feature::Binds,
                "Podman's Docker API creates missing paths, and on another host that cannot be checked",
            );
    }
    if local {
        capability = capability.running(runnable_platforms());
    } else {
        let reason = "the agent's secrets are files of this host, and the engine is on another host";
        capability = capability.without(Feature::Secrets, reason);
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
    let lacks =
        [(info.memory_limit, "memory limits"), (info.cpu_cfs_quota, "cpu limits"), (info.pids_limit, "pids limits")];
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
