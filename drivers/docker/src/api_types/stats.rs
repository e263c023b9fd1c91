//! `GET /containers/{id}/stats`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::or_default;

/// `GET /containers/{id}/stats`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawStats {
    #[serde(deserialize_with = "or_default")]
    pub(crate) read: String,
    pub(crate) cpu_stats: RawCpu,
    pub(crate) memory_stats: RawMemory,
    #[serde(deserialize_with = "or_default")]
    pub(crate) pids_stats: RawPids,
    pub(crate) networks: Option<BTreeMap<String, RawInterface>>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) blkio_stats: RawBlocks,
}

/// Processor part of a sample.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawCpu {
    pub(crate) cpu_usage: RawCpuUsage,
}

/// Processor time of a sample.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawCpuUsage {
    pub(crate) total_usage: u64,
}

/// Memory part of a sample.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawMemory {
    #[serde(deserialize_with = "or_default")]
    pub(crate) usage: u64,
    #[serde(deserialize_with = "or_default")]
    pub(crate) limit: u64,
    #[serde(deserialize_with = "or_default")]
    pub(crate) stats: BTreeMap<String, serde_json::Value>,
}

/// Processes of a sample.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawPids {
    pub(crate) current: Option<u64>,
}

/// One interface of a sample.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawInterface {
    pub(crate) rx_bytes: u64,
    pub(crate) tx_bytes: u64,
}

/// Block devices of a sample.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawBlocks {
    pub(crate) io_service_bytes_recursive: Option<Vec<RawBlock>>,
}

/// One count of a block device.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawBlock {
    pub(crate) op: String,
    pub(crate) value: u64,
}
