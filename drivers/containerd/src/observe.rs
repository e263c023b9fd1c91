//! What instances are now: containers, tasks, and what is written down of their runs.

use std::collections::HashMap;

use hythe_local::IoContext;
use hythe_network::shim_network::Connected;
use hythe_runtime::context::run_blocking;
use hythe_runtime::{Filter, Listed, Observed, Result, State};
use hythe_shim::files::read_json;

use crate::api_types::{Process, Status};
use crate::context::Context;
use crate::record::{self, Found, Record};
use crate::snapshots::{self, Held};
use crate::task::{self, Run};
use crate::{streams, translate};

/// The state of an instance, with its end written down where it has ended.
pub(crate) async fn settled(context: &Context, operation: &'static str, id: &str) -> Result<State> {
    let process = task::get(context, operation, id).await?;
    let run = run(context, operation, id, process.as_ref())?;
    Ok(translate::state(process.as_ref(), run.as_ref()))
}

fn run(context: &Context, operation: &'static str, id: &str, process: Option<&Process>) -> Result<Option<Run>> {
    let mut run = Run::read(context, id);
    let ended = process.filter(|process| process.status() == Status::Stopped);
    if let (Some(process), Some(run)) = (ended, &mut run) {
        task::settle(context, operation, process, run)?;
    }
    Ok(run)
}

async fn observed(
    context: &Context,
    operation: &'static str,
    found: &Found,
    process: Option<&Process>,
) -> Result<Observed> {
    let Some(record) = &found.record else { return Ok(translate::foreign(found, process)) };
    let run = run(context, operation, &record.id, process)?;
    let thawed = thawed(context, operation, record, process).await?;
    let process = thawed.as_ref().or(process);
    let is_alive = process.is_some_and(|process| matches!(process.status(), Status::Running | Status::Paused));
    if is_alive && let Err(error) = resume(context, operation, &record.id).await {
        tracing::warn!(instance = record.name, %error, "its log and its ports have no supervisor");
    }
    let connected: Connected = read_json(&context.directory(&record.id).connected()).unwrap_or_default();
    let connected = connected.now(&record.plan.network, context.networks.as_ref(), &record.id);
    Ok(translate::observed(record, process, run.as_ref(), connected))
}

/// One that is frozen for a moment, while its files are copied, is reported as running; where whoever copied has died, it goes on.
async fn thawed(
    context: &Context,
    operation: &'static str,
    record: &Record,
    process: Option<&Process>,
) -> Result<Option<Process>> {
    let Some(paused) = process.filter(|process| process.status() == Status::Paused) else { return Ok(None) };
    match snapshots::holder(&context.directory(&record.id)) {
        Held::Nobody => return Ok(None),
        Held::Living => {}
        Held::Dead => {
            task::resume(context, operation, &record.id).await?;
            // Whoever freezes it again marks it again.
            let _ = std::fs::remove_file(context.directory(&record.id).frozen());
        }
    }
    Ok(Some(Process { status: Status::Running.into(), ..paused.clone() }))
}

/// Gives a running task a supervisor where its own was killed.
async fn resume(context: &Context, operation: &'static str, id: &str) -> Result<()> {
    let directory = context.directory(id);
    let has_none = || directory.shim().context(operation, "look for the supervisor").map(|shim| shim.is_none());
    if !has_none()? {
        return Ok(());
    }
    // Whoever starts or removes it sees to its supervisor.
    let Some(_lock) = context.try_lock_instance(operation, id)? else { return Ok(()) };
    let now = task::get(context, operation, id).await?;
    if !now.is_some_and(|now| matches!(now.status(), Status::Running | Status::Paused)) || !has_none()? {
        return Ok(());
    }
    let (program, directory) = (context.config.shim.clone(), directory.clone());
    run_blocking(operation, move || streams::resume(program.as_deref(), &directory, operation)).await
}

/// Everything about one instance.
pub(crate) async fn inspect(context: &Context, operation: &'static str, found: &Found) -> Result<Observed> {
    let process = task::get(context, operation, found.id()).await?;
    observed(context, operation, found, process.as_ref()).await
}

/// All that match, sorted by name: one call for the containers, one for the tasks.
pub(crate) async fn list(context: &Context, operation: &'static str, filter: &Filter) -> Result<Vec<Listed>> {
    let found = record::all(context, operation).await?;
    let tasks = task::all(context, operation).await?.into_iter();
    let id = |process: &Process| match process.container_id.is_empty() {
        true => process.id.clone(),
        false => process.container_id.clone(),
    };
    let tasks: HashMap<String, Process> = tasks.map(|process| (id(&process), process)).collect();
    let mut rows = Vec::new();
    for one in &found {
        let labels = one.labels();
        if filter.labels.iter().all(|(key, value)| labels.get(key) == Some(value)) {
            rows.push(observed(context, operation, one, tasks.get(one.id())).await?.listed());
        }
    }
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(rows)
}
