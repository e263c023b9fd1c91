//! What the podman that was found can honour.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;

use hythe_runtime::platforms::runnable_platforms;
use hythe_runtime::podman::{NO_ISOLATED_NETWORKS, NO_PUBLISH_IPV6};
use hythe_runtime::{Capability, Feature};
use hythe_spec::Isolation;

use crate::Config;
use crate::api_types::{Host, Info};

const TUN: &str = "/dev/net/tun";

/// The capability of a configured podman.
pub(crate) fn capability(config: &Config, info: &Info) -> Capability {
    let mut capability = Capability::of(Feature::ALL)
        .isolated_by(Isolation::Container)
        .without(Feature::EgressAllowList, "podman's networks cannot filter by host name; not implemented")
        .without(Feature::IngressAllowList, "podman's networks cannot filter by host name; not implemented")
        .without(Feature::IsolatedNetworks, NO_ISOLATED_NETWORKS)
        .without(Feature::PublishIpv6, NO_PUBLISH_IPV6);
    capability = capability.without(Feature::LogFiles, "podman keeps one log file, which it truncates");
    if info.host.security.rootless {
        let reason = "rootless, there is no cgroup for devices; leave the permissions out";
        capability = capability.without(Feature::DeviceAccess, reason);
    }
    capability = capability
        .without(Feature::TmpfsOwner, "podman has no option for the owner of a tmpfs; give it a `mode`")
        .without(Feature::TmpfsInodes, "podman has no option for the number of inodes; limit the `size`");
    if !info.host.service_is_remote {
        capability = capability.running(runnable_platforms());
    }
    if !config.allow_privileged {
        capability =
            capability.without(Feature::Privileged, "not allowed in the agent's configuration (`allow_privileged`)");
    }
    if host_address().is_none() {
        capability = capability.without(Feature::HostGateway, "this host has no address that an instance could reach");
    }
    if !info.host.security.seccomp_enabled {
        capability = capability
            .without(Feature::SeccompDefault, "podman was built without seccomp")
            .without(Feature::SeccompFile, "podman was built without seccomp");
    }
    let missing = limits(info).into_iter().chain(networks(info, Path::new(TUN)));
    missing.fold(capability, |capability, (feature, reason)| capability.without(feature, reason))
}

/// Limits that this host's cgroups cannot enforce, and why.
fn limits(info: &Info) -> Vec<(Feature, String)> {
    let controlled = [(Feature::MemoryLimit, "memory"), (Feature::CpuLimit, "cpu"), (Feature::PidsLimit, "pids")];
    let Host { cgroup_version, cgroup_controllers, security, .. } = &info.host;
    let reason = |controller: &str| {
        if security.rootless && cgroup_version == "v1" {
            return Some(
                "rootless podman cannot limit resources on cgroup v1; boot with cgroup v2 or run podman as root"
                    .to_owned(),
            );
        }
        let present = cgroup_controllers.iter().flatten().any(|name| name == controller);
        (!present).then(|| format!("the cgroup controller `{controller}` is not delegated to this user"))
    };
    controlled.into_iter().filter_map(|(feature, controller)| Some((feature, reason(controller)?))).collect()
}

/// Rootless podman makes its networks with a tun device.
fn networks(info: &Info, tun: &Path) -> Vec<(Feature, String)> {
    let usable = || File::options().read(true).write(true).open(tun).is_ok();
    if !info.host.security.rootless || info.host.service_is_remote || usable() {
        return Vec::new();
    }
    let reason = format!("rootless podman needs `{}` for its networks, and this user cannot open it", tun.display());
    let needed = [Feature::Networks, Feature::PublishTcp, Feature::PublishUdp, Feature::PublishSctp];
    needed.into_iter().map(|feature| (feature, reason.clone())).collect()
}

/// What works but should be known.
pub(crate) fn warnings(info: &Info) -> Vec<String> {
    limits(info)
        .into_iter()
        .chain(networks(info, Path::new(TUN)))
        .map(|(feature, reason)| format!("{}: {reason}", feature.describe()))
        .collect()
}

/// The address of this host on the way out; nothing is sent.
pub(crate) fn host_address() -> Option<IpAddr> {
    const ANYWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(ANYWHERE).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops where it fails")]
mod tests {
    use super::*;

    fn info(rootless: bool, version: &str, controllers: &[&str]) -> Info {
        let document = serde_json::json!({
            "host": {
                "cgroupVersion": version,
                "cgroupControllers": controllers,
                "serviceIsRemote": false,
                "security": { "rootless": rootless, "seccompEnabled": true },
            },
            "store": { "graphRoot": "/g", "volumePath": "/v" },
            "version": { "Version": "4.3.1" },
        });
        serde_json::from_value(document).unwrap()
    }

    fn supported(info: &Info, feature: Feature) -> bool {
        capability(&Config::default(), info).supports(feature)
    }

    #[test]
    fn limits_follow_the_cgroups() {
        let all = ["cpu", "memory", "pids"];
        assert!(supported(&info(false, "v1", &all), Feature::MemoryLimit));
        assert!(!supported(&info(true, "v1", &[]), Feature::MemoryLimit));
        let delegated = info(true, "v2", &["memory", "pids"]);
        assert!(supported(&delegated, Feature::PidsLimit) && !supported(&delegated, Feature::CpuLimit));
    }

    #[test]
    fn privilege_must_be_allowed() {
        let allowed = Config { allow_privileged: true, ..Config::default() };
        let info = info(false, "v2", &[]);
        assert!(!supported(&info, Feature::Privileged) && !supported(&info, Feature::EgressAllowList));
        assert!(capability(&allowed, &info).supports(Feature::Privileged));
    }

    #[test]
    fn rootless_networks_need_a_tun_device() {
        let absent = Path::new("/no/such/tun");
        assert!(networks(&info(false, "v2", &[]), absent).is_empty());
        assert!(networks(&info(true, "v2", &[]), absent).iter().any(|(feature, _)| *feature == Feature::Networks));
    }
}
