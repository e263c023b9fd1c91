//! One sample of a container's use of resources.

use std::collections::BTreeMap;

use async_trait::async_trait;
use hythe_runtime::{Error, ErrorKind, InstanceRef, OpContext, Result, Stats, StatsSample};

use crate::api_types::{RawBlocks, RawMemory, RawStats};
use crate::client::segment;
use crate::context::Context;
use crate::driver::Docker;
use crate::error::translate;

/// A limit this large is the kernel's word for none.
const NO_LIMIT: u64 = 1 << 60;

#[async_trait]
impl Stats for Docker {
    async fn sample(&self, cx: &OpContext, instance: &InstanceRef) -> Result<StatsSample> {
        cx.with_deadline("stats", self.context.stats_of(instance)).await
    }
}

impl Context {
    async fn stats_of(&self, instance: &InstanceRef) -> Result<StatsSample> {
        // Asked first: for what does not run, dockerd answers with zeros and Podman with nothing.
        let container = self.container("stats", instance).await?;
        if !matches!(container.state.status.as_str(), "running" | "paused") {
            return Err(Error::new(
                ErrorKind::Conflict,
                "stats",
                format!("`{instance}` is {}, not running", container.state.status),
            ));
        }
        let path = format!("/containers/{}/stats", segment(&container.id));
        let raw: RawStats = self
            .client
            .get(&path, &[("stream", "false"), ("one-shot", "true")])
            .await
            .map_err(|error| translate("stats", instance.as_str(), error))?;
        let limited = container.host_config.memory > 0;
        Ok(sample(raw, limited))
    }
}

fn sample(raw: RawStats, limited: bool) -> StatsSample {
    let networks = raw.networks.as_ref().map(|networks| networks.values());
    let blocks = |op| blocks(&raw.blkio_stats, op);
    StatsSample {
        cpu_nanos: raw.cpu_stats.cpu_usage.total_usage,
        memory_bytes: in_use(&raw.memory_stats),
        // Without a limit of its own the engine names the host's memory.
        memory_limit: Some(raw.memory_stats.limit).filter(|limit| limited && (1..NO_LIMIT).contains(limit)),
        pids: raw.pids_stats.current,
        network_rx_bytes: networks.clone().map(|all| all.map(|one| one.rx_bytes).sum()),
        network_tx_bytes: networks.map(|all| all.map(|one| one.tx_bytes).sum()),
        block_read_bytes: blocks("read"),
        block_write_bytes: blocks("write"),
    }
}

/// Without the cache that the kernel gives back first: `total_inactive_file` (cgroup v1) or `inactive_file` (v2).
fn in_use(memory: &RawMemory) -> u64 {
    let number =
        |stats: &BTreeMap<String, serde_json::Value>, key: &str| stats.get(key).and_then(serde_json::Value::as_u64);
    let cache =
        number(&memory.stats, "total_inactive_file").or_else(|| number(&memory.stats, "inactive_file")).unwrap_or(0);
    memory.usage.saturating_sub(cache)
}

fn blocks(stats: &RawBlocks, op: &str) -> Option<u64> {
    let counts = stats.io_service_bytes_recursive.as_ref()?;
    Some(counts.iter().filter(|count| count.op.eq_ignore_ascii_case(op)).map(|count| count.value).sum())
}
