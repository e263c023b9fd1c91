//! Logs: those that supervisors write.

use std::time::Duration;

use async_trait::async_trait;
use hythe_local::logs::{EndNotice, logs};
use hythe_runtime::context::run_blocking;
use hythe_runtime::{InstanceRef, LogOptions, LogStream, Logs, OpContext, Result, State};
use tokio::runtime::Handle;

use crate::api_types::Status;
use crate::context::Context;
use crate::driver::Containerd;
use crate::{record, streams, task};

/// How often it is asked whether a task has ended, while its log is followed.
const LOOK: Duration = Duration::from_millis(200);

#[async_trait]
impl Logs for Containerd {
    async fn logs(&self, cx: &OpContext, instance: &InstanceRef, options: &LogOptions) -> Result<LogStream> {
        let context = self.context.clone();
        let found = cx.with_deadline("logs", record::find(&context, "logs", instance)).await?;
        let directory = context.directory(found.id());
        let task = cx.with_deadline("logs", task::get(&context, "logs", found.id())).await?;
        if task.is_none_or(|task| task.status() == Status::Stopped) {
            // Its last output may still be on its way.
            let ended = directory.clone();
            run_blocking("logs", move || streams::drained(&ended, "logs")).await?;
        }
        let (id, tokio) = (found.id().to_owned(), Handle::current());
        logs(cx, directory, options, Box::new(move || tokio.block_on(has_ended(&context, &id))), EndNotice::Every(LOOK))
            .await
    }
}

/// The supervisor goes once all output is in the log.
async fn has_ended(context: &Context, id: &str) -> Result<bool> {
    let is_there = context.directory(id).shim().ok().flatten().is_some();
    if is_there {
        return Ok(false);
    }
    let state = crate::observe::settled(context, "logs", id).await?;
    Ok(!matches!(state, State::Running | State::Paused))
}
