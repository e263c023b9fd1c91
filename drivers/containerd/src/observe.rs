//! What instances are now: containers, tasks, and what is written down of their runs.

use std::collections::HashMap;

use hythe_runtime::{Filter, Listed, Observed, Result, State};

use crate::api_types::{Process, Status};
use crate::context::Context;
use crate::record::{self, Found};
use crate::task::{self, Run};
use crate::translate;

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

fn observed(context: &Context, operation: &'static str, found: &Found, process: Option<&Process>) -> Result<Observed> {
    match &found.record {
        Some(record) => {
            let run = run(context, operation, &record.id, process)?;
            Ok(translate::observed(record, process, run.as_ref()))
        }
        None => Ok(translate::foreign(found, process)),
    }
}

/// Everything about one instance.
pub(crate) async fn inspect(context: &Context, operation: &'static str, found: &Found) -> Result<Observed> {
    let process = task::get(context, operation, found.id()).await?;
    observed(context, operation, found, process.as_ref())
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
            rows.push(observed(context, operation, one, tasks.get(one.id()))?.listed());
        }
    }
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(rows)
}
