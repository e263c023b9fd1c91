//! A container's task: asking for it, and what is known of its last run.

use std::time::Duration;

use hythe_local::IoContext;
use hythe_runtime::{Exit, Result};
use hythe_shim::cgroup;
use hythe_shim::files::{read_json, replace_json};
use hythe_shim::record::boot;
use hythe_spec::Signal;
use hythe_spec::vocabulary::ExitCause;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api_types::{Empty, Filters, Kill, OfTask, OneProcess, Process, Processes, Status, Time, Waited};
use crate::context::{Context, SharedContext};

const RUN: &str = "task.json";

/// A run, as it is written down in the instance's directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// The host's boot that it began in.
    pub(crate) boot: String,
    /// When the main process was executed.
    pub(crate) started: Option<Timestamp>,
    /// When it ended.
    pub(crate) finished: Option<Timestamp>,
    /// How, or why it did not start.
    pub(crate) exit: Option<Exit>,
}

impl Run {
    pub(crate) fn begun() -> Self {
        Self { boot: boot(), ..Self::default() }
    }

    pub(crate) fn read(context: &Context, id: &str) -> Option<Self> {
        read_json(&context.directory(id).at(RUN)).ok()
    }

    pub(crate) fn write(&self, context: &Context, operation: &'static str, id: &str) -> Result<()> {
        let path = context.directory(id).at(RUN);
        replace_json(&path, self, true).context(operation, format_args!("write `{}`", path.display()))
    }
}

pub(crate) fn moment(time: Option<Time>) -> Option<Timestamp> {
    time.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok())
}

/// The task of a container; `None`: it has none.
pub(crate) async fn get(context: &Context, operation: &'static str, id: &str) -> Result<Option<Process>> {
    let request = OfTask { container_id: id.to_owned(), exec_id: String::new() };
    match context.client.call::<OneProcess>(operation, "tasks.v1.Tasks/Get", &request).await {
        Ok(answer) => Ok(answer.process),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The tasks of all containers.
pub(crate) async fn all(context: &Context, operation: &'static str) -> Result<Vec<Process>> {
    let request = Filters { filters: Vec::new() };
    let answer: Processes = context.client.call(operation, "tasks.v1.Tasks/List", &request).await?;
    Ok(answer.tasks)
}

/// The path of an instance's control groups.
pub(crate) fn group(id: &str) -> String {
    format!("/hythe-{id}")
}

/// Whether a process belongs to an instance: its number may be another's by now.
pub(crate) fn has_process(id: &str, pid: u32) -> bool {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    groups.contains(&group(id))
}

/// How a task ended that is still there.
pub(crate) fn exit(id: &str, code: u32) -> Exit {
    let oom = cgroup::killed_for_memory(&cgroup::of_path(&group(id))) > 0;
    Exit::from_code(i32::try_from(code).unwrap_or(255)).oom_killed(oom)
}

/// Writes the end of a run down, so that it is known when containerd has lost the task.
pub(crate) fn settle(context: &Context, operation: &'static str, process: &Process, run: &mut Run) -> Result<()> {
    let id = if process.container_id.is_empty() { &process.id } else { &process.container_id };
    if process.status() != Status::Stopped || run.exit.is_some() {
        return Ok(());
    }
    run.finished = moment(process.exited_at);
    run.exit = Some(exit(id, process.exit_status));
    run.write(context, operation, id)
}

/// The end of a run whose task containerd has lost.
pub(crate) fn lost() -> Exit {
    let words = "containerd has lost its task, and with it the exit code".to_owned();
    Exit { cause: ExitCause::EngineGone, code: None, signal: None::<Signal>, error: Some(words) }
}

/// Deletes a task. None there: success.
pub(crate) async fn delete(context: &Context, operation: &'static str, id: &str) -> Result<()> {
    let request = OfTask { container_id: id.to_owned(), exec_id: String::new() };
    match context.client.call::<Empty>(operation, "tasks.v1.Tasks/Delete", &request).await {
        Err(error) if error.is_not_found() => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Whether it ended within the time. The wait stands before the signal is sent.
pub(crate) async fn end_by(
    context: &SharedContext,
    operation: &'static str,
    id: &str,
    signal: Signal,
    is_paused: bool,
    grace: Duration,
) -> Result<bool> {
    let request = OfTask { container_id: id.to_owned(), exec_id: String::new() };
    let mut waiting = context.client.stream(operation, "tasks.v1.Tasks/Wait", &request, None).await?;
    kill(context, operation, id, signal).await?;
    if is_paused {
        resume(context, operation, id).await?;
    }
    match tokio::time::timeout(grace, waiting.next::<Waited>()).await {
        Ok(Ok(_)) => Ok(true),
        // Somebody has deleted it.
        Ok(Err(error)) if error.is_not_found() => Ok(true),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(false),
    }
}

/// Freezes every process; returns when it is done.
pub(crate) async fn pause(context: &Context, operation: &'static str, id: &str) -> Result<()> {
    let request = OfTask { container_id: id.to_owned(), exec_id: String::new() };
    context.client.call::<Empty>(operation, "tasks.v1.Tasks/Pause", &request).await.map(drop)
}

/// Whether there was a process to send it to.
pub(crate) async fn kill(context: &Context, operation: &'static str, id: &str, signal: Signal) -> Result<bool> {
    let request = Kill { container_id: id.to_owned(), exec_id: String::new(), signal: u32::from(signal.0) };
    match context.client.call::<Empty>(operation, "tasks.v1.Tasks/Kill", &request).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() || error.message().contains("already finished") => Ok(false),
        Err(error) => Err(error),
    }
}

pub(crate) async fn resume(context: &Context, operation: &'static str, id: &str) -> Result<()> {
    let request = OfTask { container_id: id.to_owned(), exec_id: String::new() };
    match context.client.call::<Empty>(operation, "tasks.v1.Tasks/Resume", &request).await {
        // It has ended, or goes on already.
        Err(error) if error.is_not_found() || error.message().contains("not paused") => Ok(()),
        outcome => outcome.map(drop),
    }
}
