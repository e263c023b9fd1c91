//! Logs: those that supervisors write.

use std::sync::Arc;

use async_trait::async_trait;
use hythe_local::instances::Record;
use hythe_local::logs::{EndNotice, logs};
use hythe_runtime::context::run_blocking;
use hythe_runtime::{InstanceRef, LogOptions, LogStream, Logs, OpContext, Result, State};
use hythe_shim::record::Phase;

use crate::context::Context;
use crate::driver::Vm;

#[async_trait]
impl Logs for Vm {
    async fn logs(&self, cx: &OpContext, instance: &InstanceRef, options: &LogOptions) -> Result<LogStream> {
        let (context, instance) = (Arc::clone(&self.context), instance.clone());
        let find = run_blocking("logs", move || Ok((context.instances.find("logs", &instance)?, context)));
        let (record, context) = cx.with_deadline("logs", find).await?;
        let directory = context.instances.directory(&record.id);
        logs(cx, directory, options, Box::new(move || has_ended(&context, &record)), EndNotice::Directory).await
    }
}

fn has_ended(context: &Context, record: &Record) -> Result<bool> {
    if context.instances.read("logs", &record.id)?.is_none() {
        return Ok(true);
    }
    let seen = crate::observe::state(context, "logs", record)?;
    // One that is being started counts as running.
    let starting = seen.recorded.is_some_and(|recorded| recorded.phase == Phase::Starting);
    Ok(!starting && !matches!(seen.state, State::Running | State::Paused))
}
