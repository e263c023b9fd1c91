//! Networks and volumes.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::or_default;

/// A network.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Network {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) created: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) driver: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(rename = "IPAM", deserialize_with = "or_default")]
    pub(crate) ipam: Ipam,
}

/// Addresses of a network.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Ipam {
    #[serde(deserialize_with = "or_default")]
    pub(crate) config: Vec<Subnet>,
}

/// A subnet of a network.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Subnet {
    #[serde(deserialize_with = "or_default")]
    pub(crate) subnet: String,
}

/// A volume.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Volume {
    pub(crate) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) mountpoint: String,
}

/// `GET /volumes`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Volumes {
    #[serde(deserialize_with = "or_default")]
    pub(crate) volumes: Vec<Volume>,
}
