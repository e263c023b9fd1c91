//! What virtual machines can honour on this host.

use hythe_runtime::platforms::native_platforms;
use hythe_runtime::{Capability, Feature};
use hythe_spec::Isolation;

/// What no virtual machine of this driver has, and why.
const NEVER: [(Feature, &str); 14] = [
    (Feature::HostNetwork, "a virtual machine has a network of its own"),
    (Feature::PublishSctp, "published ports are relayed, and SCTP cannot be"),
    (
        Feature::Binds,
        "directories of the host are not shared with guests yet; use a volume, or build the files into the image",
    ),
    (Feature::Secrets, "files of the host are not shared with guests yet"),
    (Feature::Devices, "devices of the host are not handed on to guests"),
    (Feature::DeviceAccess, "devices of the host are not handed on to guests"),
    (Feature::CdiDevices, "devices of the host are not handed on to guests"),
    (Feature::CapabilitySet, "capabilities are not set in guests yet; none of a guest's acts on the host"),
    (Feature::SeccompFile, "seccomp profiles are not installed in guests yet"),
    (Feature::SeccompDefault, "seccomp profiles are not installed in guests yet"),
    (Feature::SeccompUnconfined, "seccomp profiles are not installed in guests yet"),
    (Feature::Privileged, "nothing of the host can be given to a guest"),
    (Feature::EgressAllowList, "connections are not filtered by host name; not implemented"),
    (Feature::IngressAllowList, "connections are not filtered by host name; not implemented"),
];

/// What needs networks of the host's kernel.
const NETWORKED: [Feature; 9] = [
    Feature::Networks,
    Feature::IsolatedNetworks,
    Feature::PublishTcp,
    Feature::PublishUdp,
    Feature::PublishIpv6,
    Feature::Dns,
    Feature::DnsSearch,
    Feature::ExtraHosts,
    Feature::HostGateway,
];

/// `no_networks`: why there are none; nothing where there are.
pub(crate) fn capability(no_networks: Option<&str>) -> Capability {
    let all = Capability::of(Feature::ALL).isolated_by(Isolation::Vm).running(native_platforms());
    let without = NEVER.into_iter().fold(all, |all, (feature, reason)| all.without(feature, reason));
    let networked = no_networks.into_iter().flat_map(|reason| NETWORKED.map(|feature| (feature, reason)));
    networked.fold(without, |all, (feature, reason)| all.without(feature, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_networks_nothing_is_published_and_the_reason_is_kept() {
        let capability = capability(Some("no nftables"));
        assert!(!capability.supports(Feature::Networks) && !capability.supports(Feature::PublishTcp));
        assert!(capability.supports(Feature::NoNetwork) && capability.supports(Feature::Volumes));
        assert_eq!(capability.isolation(), Isolation::Vm);
    }
}
