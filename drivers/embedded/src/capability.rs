//! What this host can honour for this user.

use std::fs;
use std::io;
use std::path::PathBuf;

use hythe_host::{DelegatedCgroup, delegated_cgroup};
use hythe_runtime::platforms::native_platforms;
use hythe_runtime::{Capability, Error, Feature};
use hythe_spec::Isolation;

use crate::Config;

const NOT_DELEGATED: &str = "rootless, no cgroup is delegated to the agent; run it as the systemd user unit of `hythe units --user` (cgroup v2, systemd 254 or later), or as root";

/// Features of resources, with the cgroup controllers that they need.
const LIMITS: [(Feature, &str); 3] =
    [(Feature::MemoryLimit, "memory"), (Feature::CpuLimit, "cpu"), (Feature::PidsLimit, "pids")];

/// What an unprivileged user cannot have.
const WITHOUT_ROOT: [(Feature, &str); 3] = [
    (Feature::DeviceAccess, "rootless, there is no cgroup for devices; leave the permissions out"),
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

/// What is different without cgroups and asked for by no field.
const WITHOUT_GROUPS: [&str; 2] = [
    "rootless: resources are neither limited nor measured",
    "rootless: a running instance is not frozen for a snapshot",
];

/// Cgroups of instances.
#[derive(Debug)]
pub(crate) enum Groups {
    /// Right below the root of each hierarchy, with every controller of the host.
    OfHost,
    /// Below one that is delegated to this user.
    Delegated(DelegatedCgroup),
    /// None: an unprivileged user to whom nothing is delegated.
    Nowhere,
}

impl Groups {
    /// Those that this user can have.
    pub(crate) fn found(rootless: bool) -> io::Result<Self> {
        if !rootless {
            return Ok(Self::OfHost);
        }
        Ok(delegated_cgroup()?.map_or(Self::Nowhere, Self::Delegated))
    }

    /// The one above those of instances.
    pub(crate) fn above(&self) -> Option<PathBuf> {
        match self {
            Self::OfHost => Some(PathBuf::from("/")),
            Self::Delegated(group) => Some(group.path.clone()),
            Self::Nowhere => None,
        }
    }

    /// Why they do not have a controller; `None`: they have.
    fn missing(&self, controller: &str) -> Option<String> {
        match self {
            Self::OfHost if has_controller(controller) => None,
            Self::OfHost => Some(format!("this host has no cgroup controller `{controller}`")),
            Self::Delegated(group) if group.controllers.iter().any(|one| one == controller) => None,
            Self::Delegated(_) => Some(format!("the cgroup controller `{controller}` is not delegated to this user")),
            Self::Nowhere => Some(NOT_DELEGATED.to_owned()),
        }
    }

    /// Whether the number of processes can be limited.
    pub(crate) fn limit_pids(&self) -> bool {
        self.missing("pids").is_none()
    }
}

/// The capability of this host, and what works but should be known.
pub(crate) fn capability(
    config: &Config,
    no_bridges: Option<Error>,
    rootless: bool,
    groups: &Groups,
) -> (Capability, Vec<String>) {
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
    }
    if matches!(groups, Groups::Nowhere) {
        warnings.extend(WITHOUT_GROUPS.map(str::to_owned));
    }
    for (feature, controller) in LIMITS {
        let Some(reason) = groups.missing(controller) else { continue };
        if !matches!(groups, Groups::Nowhere) {
            warnings.push(format!("{}: {reason}", feature.describe()));
        }
        missing.push((feature, reason));
    }
    // What is emulated is not taken into the store either.
    let capability = Capability::of(Feature::ALL).isolated_by(Isolation::Container).running(native_platforms());
    (missing.into_iter().fold(capability, |all, (feature, reason)| all.without(feature, reason)), warnings)
}

/// Whether cgroups of this host have a controller.
fn has_controller(name: &str) -> bool {
    let unified = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let is_one = |line: &str| {
        line.split_once(" - cgroup ").is_some_and(|(_, rest)| rest.split([' ', ',']).any(|option| option == name))
    };
    unified.split_whitespace().any(|controller| controller == name) || mounts.lines().any(is_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rootless(groups: &Groups) -> Capability {
        capability(&Config::default(), None, true, groups).0
    }

    #[test]
    fn limits_are_those_of_the_delegated_controllers() {
        let controllers = ["memory", "pids"].map(str::to_owned).to_vec();
        let group = DelegatedCgroup { path: PathBuf::from("/hythe.service"), controllers };
        let groups = Groups::Delegated(group);
        let delegated = rootless(&groups);
        assert!(delegated.supports(Feature::MemoryLimit) && delegated.supports(Feature::PidsLimit));
        assert!(!delegated.supports(Feature::CpuLimit) && !delegated.supports(Feature::DeviceAccess));
        assert_eq!(groups.above(), Some(PathBuf::from("/hythe.service")));
    }

    #[test]
    fn without_delegation_nothing_is_limited_and_the_reason_names_the_units() {
        let capability = rootless(&Groups::Nowhere);
        assert!(LIMITS.iter().all(|(feature, _)| !capability.supports(*feature)));
        assert!(Groups::Nowhere.missing("memory").is_some_and(|reason| reason.contains("`hythe units --user`")));
        assert_eq!(Groups::Nowhere.above(), None);
    }
}
