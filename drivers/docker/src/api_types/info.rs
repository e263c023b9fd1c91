//! `GET /info`.

use serde::Deserialize;

use super::or_default;

/// `GET /info`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Info {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) server_version: String,
    /// Facts of the storage driver, in pairs.
    #[serde(deserialize_with = "or_default")]
    pub(crate) driver_status: Vec<Vec<String>>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) memory_limit: bool,
    #[serde(deserialize_with = "or_default")]
    pub(crate) swap_limit: bool,
    #[serde(deserialize_with = "or_default")]
    pub(crate) cpu_cfs_quota: bool,
    #[serde(deserialize_with = "or_default")]
    pub(crate) pids_limit: bool,
    #[serde(deserialize_with = "or_default")]
    pub(crate) rootless: bool,
    /// Name of the engine's host.
    #[serde(deserialize_with = "or_default")]
    pub(crate) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) docker_root_dir: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) system_time: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) security_options: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) warnings: Vec<String>,
}

impl Info {
    /// Images are containerd's, not the engine's own.
    pub(crate) fn keeps_images_in_containerd(&self) -> bool {
        self.driver_status.iter().flatten().any(|word| word.starts_with("io.containerd.snapshotter"))
    }
}
