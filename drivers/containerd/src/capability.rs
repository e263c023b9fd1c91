//! What this driver honours. A feature that is not here is refused with its reason.

use hythe_runtime::platforms::native_platforms;
use hythe_runtime::{Capability, Error, Feature};
use hythe_spec::Isolation;

use crate::{Config, init};

/// What works.
const FEATURES: [Feature; 43] = [
    Feature::Init,
    Feature::SeccompFile,
    Feature::Networks,
    Feature::IsolatedNetworks,
    Feature::PublishTcp,
    Feature::PublishUdp,
    Feature::PublishIpv6,
    Feature::HostGateway,
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

/// What needs bridge networks.
const NETWORKED: [Feature; 6] = [
    Feature::Networks,
    Feature::IsolatedNetworks,
    Feature::PublishTcp,
    Feature::PublishUdp,
    Feature::PublishIpv6,
    Feature::HostGateway,
];

/// The capability, and what works but should be known.
pub(crate) fn capability(config: &Config, no_bridges: Option<Error>, has_init: bool) -> (Capability, Vec<String>) {
    let mut capability = Capability::of(FEATURES).isolated_by(Isolation::Container).running(native_platforms());
    let mut warnings = Vec::new();
    if let Some(error) = no_bridges {
        for feature in NETWORKED {
            capability = capability.without(feature, error.message());
        }
        warnings.push(error.message().to_owned());
    }
    let others = [
        (Feature::PublishSctp, "published ports are relayed, and SCTP cannot be"),
        (Feature::CdiDevices, "the files of the Container Device Interface are not read; name the paths of the device"),
        (Feature::EgressAllowList, "connections are not filtered by host name; not implemented"),
        (Feature::IngressAllowList, "connections are not filtered by host name; not implemented"),
    ];
    for (feature, reason) in others {
        capability = capability.without(feature, reason);
    }
    if !has_init {
        capability = capability.without(Feature::Init, init::MISSING);
    }
    if !config.allow_privileged {
        let reason = "not allowed in the agent's configuration (`allow_privileged`)";
        capability = capability.without(Feature::Privileged, reason);
    }
    (capability, warnings)
}
