//! What this driver honours. A feature that is not here is refused with its reason.

use hythe_runtime::platforms::native_platforms;
use hythe_runtime::{Capability, Feature};
use hythe_spec::Isolation;

use crate::Config;

/// What works.
const FEATURES: [Feature; 35] = [
    Feature::HostNetwork,
    Feature::NoNetwork,
    Feature::Dns,
    Feature::DnsSearch,
    Feature::ExtraHosts,
    Feature::Volumes,
    Feature::Binds,
    Feature::Tmpfs,
    Feature::TmpfsOwner,
    Feature::TmpfsInodes,
    Feature::Secrets,
    Feature::ReadOnlyRoot,
    Feature::User,
    Feature::Tty,
    Feature::Stdin,
    Feature::MemoryLimit,
    Feature::CpuLimit,
    Feature::PidsLimit,
    Feature::Ulimits,
    Feature::ShmSize,
    Feature::GroupAdd,
    Feature::Sysctls,
    Feature::Devices,
    Feature::DeviceAccess,
    Feature::LogSize,
    Feature::LogFiles,
    Feature::Platform,
    Feature::StopSignal,
    Feature::RestartInPlace,
    Feature::CapabilitySet,
    Feature::SeccompDefault,
    Feature::SeccompUnconfined,
    Feature::NoNewPrivileges,
    Feature::Privileged,
    Feature::ExecProbe,
];

const NO_NETWORKS: &str =
    "networks are not implemented for containerd yet; use `network = \"host\"` or `\"none\"`, or another runtime";

/// The capability, and what works but should be known.
pub(crate) fn capability(config: &Config) -> (Capability, Vec<String>) {
    let mut capability = Capability::of(FEATURES).isolated_by(Isolation::Container).running(native_platforms());
    let networks = [
        Feature::Networks,
        Feature::IsolatedNetworks,
        Feature::PublishTcp,
        Feature::PublishUdp,
        Feature::PublishSctp,
        Feature::PublishIpv6,
        Feature::HostGateway,
    ];
    for feature in networks {
        capability = capability.without(feature, NO_NETWORKS);
    }
    let others = [
        (Feature::Init, "no init is put into containers of containerd; use an image that has one"),
        (Feature::SeccompFile, "profiles from files are not implemented for containerd yet; use the default one"),
        (Feature::CdiDevices, "the files of the Container Device Interface are not read; name the paths of the device"),
        (Feature::EgressAllowList, "connections are not filtered by host name; not implemented"),
        (Feature::IngressAllowList, "connections are not filtered by host name; not implemented"),
    ];
    for (feature, reason) in others {
        capability = capability.without(feature, reason);
    }
    if !config.allow_privileged {
        let reason = "not allowed in the agent's configuration (`allow_privileged`)";
        capability = capability.without(Feature::Privileged, reason);
    }
    let warnings = vec![NO_NETWORKS.to_owned()];
    (capability, warnings)
}
