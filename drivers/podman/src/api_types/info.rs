//! `podman info` and `podman version`.

use serde::Deserialize;

/// `podman info`, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(crate) struct Info {
    pub(crate) host: Host,
    #[serde(default)]
    pub(crate) store: Store,
    #[serde(default)]
    pub(crate) version: Version,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Host {
    #[serde(default)]
    pub(crate) hostname: String,
    #[serde(default)]
    pub(crate) cgroup_version: String,
    #[serde(default)]
    pub(crate) cgroup_controllers: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) service_is_remote: bool,
    #[serde(default)]
    pub(crate) security: HostSecurity,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HostSecurity {
    #[serde(default)]
    pub(crate) rootless: bool,
    #[serde(default)]
    pub(crate) seccomp_enabled: bool,
    /// `CAP_CHOWN,CAP_KILL,…`
    #[serde(default)]
    pub(crate) capabilities: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Store {
    #[serde(default)]
    pub(crate) graph_root: String,
    #[serde(default)]
    pub(crate) volume_path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Version {
    #[serde(default)]
    pub(crate) version: String,
}
