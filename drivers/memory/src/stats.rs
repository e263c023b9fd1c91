//! Resource use, made up but plausible: it grows with time.

use async_trait::async_trait;
use hythe_runtime::{Error, ErrorKind, InstanceRef, OpContext, Result, Stats, StatsSample};

use crate::Memory;

const IDLE_MEMORY: u64 = 1 << 20;
/// One thousandth of a core.
const NANOS_PER_MILLI: u64 = 1_000;

#[async_trait]
impl Stats for Memory {
    async fn sample(&self, cx: &OpContext, instance: &InstanceRef) -> Result<StatsSample> {
        self.engine.answer(cx, "stats", async { sample(self, instance) }).await
    }
}

fn sample(memory: &Memory, instance: &InstanceRef) -> Result<StatsSample> {
    let mut world = memory.engine.world();
    let now = world.now();
    let instance = world.find("stats", instance)?;
    let (Some(run), Some(started)) = (&instance.run, instance.started) else {
        return Err(Error::new(ErrorKind::Conflict, "stats", format!("instance `{}` does not run", instance.name)));
    };
    let alive = u64::try_from(now.duration_since(started).as_millis()).unwrap_or_default();
    Ok(StatsSample {
        cpu_nanos: (alive + 1) * NANOS_PER_MILLI,
        memory_bytes: IDLE_MEMORY * run.count(),
        memory_limit: instance.plan.resources.memory.map(|limit| limit.0),
        pids: Some(run.count()),
        ..StatsSample::default()
    })
}
