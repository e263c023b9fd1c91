//! Images, listed and inspected, and how far a pull, push or build has come.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{ContainerConfig, or_default};

/// An image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ImageRow {
    pub(crate) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) repo_tags: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) repo_digests: Vec<String>,
    /// Only in a list.
    #[serde(deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) size: u64,
    /// Seconds in a list, a time of day in an inspect.
    pub(crate) created: Value,
    /// Absent in a list.
    pub(crate) config: Option<ContainerConfig>,
    /// Absent in a list, as the next two.
    #[serde(deserialize_with = "or_default")]
    pub(crate) os: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) architecture: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) variant: String,
}

/// `GET /images/{name}/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ImageDocument {
    pub(crate) id: String,
    pub(crate) created: String,
    pub(crate) size: u64,
    pub(crate) architecture: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) variant: String,
    pub(crate) os: String,
    /// As it is, so that nothing of it is lost.
    pub(crate) config: Value,
    #[serde(rename = "RootFS", deserialize_with = "or_default")]
    pub(crate) root: ImageLayers,
    #[serde(deserialize_with = "or_default")]
    pub(crate) graph_driver: GraphDriver,
}

/// Its layers.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ImageLayers {
    #[serde(deserialize_with = "or_default")]
    pub(crate) layers: Vec<String>,
}

/// Where they are on the engine's host.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct GraphDriver {
    pub(crate) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) data: BTreeMap<String, String>,
}

/// One line of a pull, push or build.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Report {
    pub(crate) id: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) stream: Option<String>,
    pub(crate) error: Option<String>,
    #[serde(rename = "progressDetail", deserialize_with = "or_default")]
    pub(crate) detail: ReportDetail,
    pub(crate) aux: Option<Value>,
}

/// How far something has come.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ReportDetail {
    pub(crate) current: Option<i64>,
    pub(crate) total: Option<i64>,
}
