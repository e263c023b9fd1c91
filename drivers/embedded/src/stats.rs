//! Resource use, from the instance's control groups and its own view of its network.

use async_trait::async_trait;
use hythe_local::stats::sample;
use hythe_runtime::context::run_blocking;
use hythe_runtime::{Error, ErrorKind, InstanceRef, OpContext, Result, State, Stats, StatsSample};

use crate::driver::Embedded;

#[async_trait]
impl Stats for Embedded {
    async fn sample(&self, cx: &OpContext, instance: &InstanceRef) -> Result<StatsSample> {
        let (context, instance) = (self.context.clone(), instance.clone());
        let work = run_blocking("stats", move || {
            let record = context.instances.find("stats", &instance)?;
            let seen = crate::observe::state(&context, "stats", &record)?;
            let recorded = seen.recorded.filter(|_| matches!(seen.state, State::Running | State::Paused));
            let recorded = recorded
                .ok_or_else(|| Error::new(ErrorKind::Conflict, "stats", format!("`{}` is not running", record.name)))?;
            Ok(sample(&recorded.cgroups, recorded.pid))
        });
        cx.with_deadline("stats", work).await
    }
}
