//! Resource use, as the guest's kernel counts it.

use async_trait::async_trait;
use hythe_guest::protocol;
use hythe_local::exec::conflict;
use hythe_local::{from_shim, shim_client};
use hythe_runtime::{Error, ErrorKind, InstanceRef, OpContext, Result, Stats, StatsSample};
use hythe_shim::protocol::{Request, kind};

use crate::client::{self, Asked};
use crate::context::SharedContext;
use crate::driver::Vm;
use crate::exec::running;

const OPERATION: &str = "stats";

#[async_trait]
impl Stats for Vm {
    async fn sample(&self, cx: &OpContext, instance: &InstanceRef) -> Result<StatsSample> {
        cx.with_deadline(OPERATION, sample(&self.context, instance)).await
    }
}

async fn sample(context: &SharedContext, instance: &InstanceRef) -> Result<StatsSample> {
    let record = running(context, OPERATION, instance).await?;
    let directory = context.instances.directory(&record.id);
    let mut connection = match client::ask(OPERATION, &directory, &Request::Stats, &[]).await? {
        Ok(Asked::Done(connection, _)) => connection,
        Ok(Asked::Gone) => return Err(conflict(OPERATION, &record, "is not running")),
        Err(fault) => return Err(from_shim(OPERATION, &fault)),
    };
    let stats = match shim_client::next_frame(&mut connection).await {
        Some((kind::STATS, content)) => serde_json::from_slice::<protocol::Stats>(&content).ok(),
        _ => None,
    };
    let stats = stats.ok_or_else(|| Error::new(ErrorKind::Unavailable, OPERATION, "the supervisor gives no sample"))?;
    let limit = record.plan.resources.memory.map(|memory| memory.0);
    Ok(sample_of(&stats, limit.unwrap_or(stats.memory_total)))
}

fn sample_of(stats: &protocol::Stats, memory_limit: u64) -> StatsSample {
    StatsSample {
        cpu_nanos: stats.cpu_usec.saturating_mul(1000),
        memory_bytes: stats.memory_total.saturating_sub(stats.memory_available),
        memory_limit: Some(memory_limit),
        pids: Some(stats.processes),
        network_rx_bytes: Some(stats.network_received),
        network_tx_bytes: Some(stats.network_sent),
        block_read_bytes: Some(stats.block_read),
        block_write_bytes: Some(stats.block_written),
    }
}
