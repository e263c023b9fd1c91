//! Containers, listed.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::nullable;

/// One element of the list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainerRow {
    pub(crate) id: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) names: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) image: String,
    #[serde(default)]
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) exited: bool,
    #[serde(default)]
    pub(crate) exit_code: i32,
    #[serde(default)]
    pub(crate) created: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) ports: Vec<ContainerRowPort>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) networks: Vec<String>,
}

/// One range of published ports.
#[derive(Debug, Deserialize)]
pub(crate) struct ContainerRowPort {
    #[serde(default)]
    pub(crate) host_ip: String,
    pub(crate) container_port: u16,
    #[serde(default)]
    pub(crate) host_port: u16,
    #[serde(default)]
    pub(crate) range: u16,
    #[serde(default)]
    pub(crate) protocol: String,
}
