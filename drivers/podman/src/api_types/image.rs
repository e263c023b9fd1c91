//! `podman image inspect` and `podman images`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One element of `podman image inspect`, or of `podman images`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImageDocument {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) names: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) repo_digests: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) size: u64,
    /// Instances made from it; only where listed.
    #[serde(default)]
    pub(crate) containers: u64,
    #[serde(default)]
    pub(crate) labels: Option<BTreeMap<String, String>>,
    /// Only where inspected.
    #[serde(default)]
    pub(crate) graph_driver: Option<GraphDriver>,
    /// RFC 3339 where inspected, seconds where listed.
    #[serde(default)]
    pub(crate) created: serde_json::Value,
    /// Only where inspected.
    #[serde(default)]
    pub(crate) config: Option<ConfigDocument>,
    /// Only where inspected, as the next two.
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) variant: String,
    /// Only where inspected, and not among the rest of the configuration.
    #[serde(default)]
    pub(crate) healthcheck: serde_json::Value,
}

/// Where the layers are.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct GraphDriver {
    pub(crate) name: String,
    pub(crate) data: Option<BTreeMap<String, String>>,
}

/// `Config` of an image.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ConfigDocument {
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) cmd: Option<Vec<String>>,
    pub(crate) env: Option<Vec<String>>,
    pub(crate) user: String,
    pub(crate) working_dir: String,
    pub(crate) stop_signal: serde_json::Value,
    pub(crate) labels: Option<BTreeMap<String, String>>,
}
