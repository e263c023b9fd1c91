//! What virtual machines are now, from evidence: records, and the living supervisor's lock.

use std::io::ErrorKind;

use hythe_local::instances::Record;
use hythe_network::shim_network::Connected;
use hythe_runtime::{Filter, Listed, Observed, Result, State};
use hythe_shim::files::read_json;
use hythe_shim::record::{Phase, State as ShimState, boot};

use crate::client;
use crate::context::Context;
use crate::error::IoContext;
use crate::shim::RECOVER;
use crate::translate;

/// What the supervisor recorded, with the state that it means.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) state: State,
    pub(crate) recorded: Option<ShimState>,
}

/// Looks at an instance. One whose supervisor died is recovered first, so that what is reported is true.
pub(crate) fn state(context: &Context, operation: &'static str, record: &Record) -> Result<Seen> {
    let directory = context.instances.directory(&record.id);
    let read = || match read_json::<ShimState>(&directory.state()) {
        Ok(recorded) => Ok(Some(recorded)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(operation, format_args!("read what became of `{}`", record.name)),
    };
    let is_open = |recorded: &Option<ShimState>| {
        recorded.as_ref().is_some_and(|recorded| matches!(recorded.phase, Phase::Starting | Phase::Running))
    };
    let mut recorded = read()?;
    if is_open(&recorded) && directory.shim().context(operation, "look for the supervisor")?.is_none() {
        // It may have ended properly between the two looks.
        recorded = read()?;
        if is_open(&recorded) {
            client::shim(&context.shim, RECOVER, &directory, operation)?;
            recorded = read()?;
        }
    }
    Ok(Seen { state: meaning(recorded.as_ref()), recorded })
}

fn meaning(recorded: Option<&ShimState>) -> State {
    match recorded {
        None => State::Created,
        Some(recorded) => match recorded.phase {
            Phase::Starting | Phase::Failed => State::Created,
            Phase::Stopped => State::Exited,
            Phase::Running if recorded.boot != boot() => State::Unknown,
            Phase::Running if recorded.paused => State::Paused,
            Phase::Running => State::Running,
        },
    }
}

/// Everything about one instance.
pub(crate) fn observe(context: &Context, operation: &'static str, record: &Record) -> Result<Observed> {
    let Seen { state, recorded } = state(context, operation, record)?;
    let connected: Connected = recorded
        .as_ref()
        .and_then(|recorded| serde_json::from_value(recorded.network.clone()).ok())
        .unwrap_or_default();
    let connected = connected.now(&record.plan.network, context.networks.as_ref(), &record.id);
    Ok(translate::observed(record, state, recorded.as_ref(), connected))
}

/// All that match, sorted by name.
pub(crate) fn list(context: &Context, operation: &'static str, filter: &Filter) -> Result<Vec<Listed>> {
    let mut rows = Vec::new();
    let matches = |record: &Record| filter.labels.iter().all(|(key, value)| record.labels.get(key) == Some(value));
    for record in context.instances.all(operation)?.into_iter().filter(matches) {
        match observe(context, operation, &record) {
            Ok(observed) => rows.push(observed.listed()),
            // Gone meanwhile.
            Err(_) if context.instances.read(operation, &record.id)?.is_none() => {}
            Err(error) => return Err(error),
        }
    }
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(rows)
}
