//! What this host can honour for this user.

use std::fs;

use hythe_runtime::platforms::native_platforms;
use hythe_runtime::{Capability, Error, Feature};
use hythe_spec::Isolation;

use crate::Config;

const NO_GROUPS: &str =
    "not available rootless, which uses no cgroups; run the agent as root, or use rootless podman with cgroup v2";

/// What an unprivileged user cannot have.
const WITHOUT_ROOT: [(Feature, &str); 6] = [
    (Feature::DeviceAccess, "rootless, there is no cgroup for devices; leave the permissions out"),
    (Feature::MemoryLimit, NO_GROUPS),
    (Feature::CpuLimit, NO_GROUPS),
    (Feature::PidsLimit, NO_GROUPS),
    (Feature::HostGateway, "rootless networks have no address for the host; use `network = \"host\"`"),
    (Feature::Privileged, "a rootless agent has no privileges to give; run the agent as root"),
];

/// What they mean by a name includes programs (hooks) that libcontainer would have to be told of.
const NO_CDI: &str =
    "the files of the Container Device Interface are not read; name the paths of the device, such as `/dev/dri`";
/// Where the user has no other ids but his own.
pub(crate) const NO_GROUPS_TO_GIVE: &str = "rootless, groups need `newgidmap` and ranges in `/etc/subgid`";

/// Where the user has no other ids.
pub(crate) const ONE_OWNER: &str = "rootless: all files of images and volumes belong to this user; with `newuidmap` and ranges for it in `/etc/subuid` and `/etc/subgid` a new root keeps their owners";

/// Where Docker or Podman has loaded its profile, containers have that.
pub(crate) const NO_APPARMOR: &str = "AppArmor is enabled, and no profile for containers is loaded (`hythe-default`, `docker-default` or `containers-default-*`): containers are not confined by it";

/// What is different for an unprivileged user and asked for by no field.
const ROOTLESS: [&str; 2] = [
    "rootless: resources are neither limited nor measured",
    "rootless: a running instance is not frozen for a snapshot",
];

/// The capability of this host, and what works but should be known.
pub(crate) fn capability(config: &Config, no_bridges: Option<Error>, rootless: bool) -> (Capability, Vec<String>) {
    let mut missing: Vec<(Feature, String)> = vec![
        (Feature::CdiDevices, NO_CDI.to_owned()),
        (Feature::PublishSctp, "published ports are relayed, and SCTP cannot be".to_owned()),
        (Feature::EgressAllowList, "connections are not filtered by host name; not implemented".to_owned()),
        (Feature::IngressAllowList, "connections are not filtered by host name; not implemented".to_owned()),
    ];
    if !config.allow_privileged && !rootless {
        let reason = "not allowed in the agent's configuration (`allow_privileged`)".to_owned();
        missing.push((Feature::Privileged, reason));
    }
    let mut warnings = Vec::new();
    if let Some(error) = no_bridges {
        let needed = [
            Feature::Networks,
            Feature::IsolatedNetworks,
            Feature::PublishTcp,
            Feature::PublishUdp,
            Feature::PublishIpv6,
            Feature::HostGateway,
        ];
        missing.extend(needed.map(|feature| (feature, error.message().to_owned())));
        warnings.push(error.message().to_owned());
    }
    if rootless {
        missing.extend(WITHOUT_ROOT.map(|(feature, reason)| (feature, reason.to_owned())));
        warnings.extend(ROOTLESS.map(str::to_owned));
    }
    for (feature, controller) in
        [(Feature::MemoryLimit, "memory"), (Feature::CpuLimit, "cpu"), (Feature::PidsLimit, "pids")]
    {
        if !rootless && !has_controller(controller) {
            let reason = format!("this host has no cgroup controller `{controller}`");
            warnings.push(format!("{}: {reason}", feature.describe()));
            missing.push((feature, reason));
        }
    }
    // What is emulated is not taken into the store either.
    let capability = Capability::of(Feature::ALL).isolated_by(Isolation::Container).running(native_platforms());
    (missing.into_iter().fold(capability, |all, (feature, reason)| all.without(feature, reason)), warnings)
}

/// Whether cgroups of this host have a controller.
pub(crate) fn has_controller(name: &str) -> bool {
    let unified = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let is_one = |line: &str| {
        line.split_once(" - cgroup ").is_some_and(|(_, rest)| rest.split([' ', ',']).any(|option| option == name))
    };
    unified.split_whitespace().any(|controller| controller == name) || mounts.lines().any(is_one)
}
