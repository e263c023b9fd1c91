//! What is true of Podman by whatever way it is reached: by its program (driver `podman`) or by Docker's API (driver `docker`).

/// Variables that Podman gives to every container and does not distinguish from those that were asked for.
pub const OWN_VARIABLES: [&str; 4] = ["container", "HOME", "HOSTNAME", "TERM"];

/// Why there is no [`crate::Feature::PublishIpv6`].
pub const NO_PUBLISH_IPV6: &str =
    "podman forwards ports by NAT, which does not reach an instance from an IPv6 host address on its networks";

/// Why there is no [`crate::Feature::IsolatedNetworks`].
pub const NO_ISOLATED_NETWORKS: &str = "podman's network backend drops the rule when any such network is removed";

/// Part of the path of a container's cgroup, as the kernel's log has it.
pub fn cgroup_scope(id: &str) -> String {
    format!("libpod-{id}")
}
