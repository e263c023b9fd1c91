//! Networks and volumes, listed and inspected.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One element of `podman network ls --format json`.
#[derive(Debug, Deserialize)]
pub(crate) struct NetworkDocument {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) driver: String,
    #[serde(default)]
    pub(crate) subnets: Option<Vec<Subnet>>,
    #[serde(default)]
    pub(crate) labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Subnet {
    pub(crate) subnet: String,
}

/// One element of `podman volume ls` or `podman volume inspect`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct VolumeDocument {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) mountpoint: String,
    #[serde(default)]
    pub(crate) labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) anonymous: bool,
}
