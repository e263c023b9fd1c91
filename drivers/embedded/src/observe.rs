//! What instances are now, from evidence: records, the living shim's lock, control groups.

use hythe_network::shim_network::Connected;
use hythe_runtime::{Filter, Listed, Observed, Result, State};
use hythe_shim::cgroup;
use hythe_shim::files::read_json;
use hythe_shim::record::{Phase, State as ShimState, boot};

use crate::client;
use crate::context::Context;
use crate::error::IoContext;
use crate::instances::Record;
use crate::translate;

/// What the shim recorded, with the state that it means.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) state: State,
    pub(crate) recorded: Option<ShimState>,
}

/// Looks at an instance. One whose shim died is settled first, so that what is told is true.
pub(crate) fn state(context: &Context, operation: &'static str, record: &Record) -> Result<Seen> {
    let directory = context.instances.directory(&record.id);
    let read = || match read_json::<ShimState>(&directory.state()) {
        Ok(recorded) => Ok(Some(recorded)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
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
            client::shim(&context.shim, "recover", &directory, operation)?;
            recorded = read()?;
        }
    }
    let state = match meaning(recorded.as_ref()) {
        // Frozen for a moment, while its files are copied.
        State::Paused if directory.frozen().exists() => State::Running,
        state => state,
    };
    Ok(Seen { state, recorded })
}

fn meaning(recorded: Option<&ShimState>) -> State {
    match recorded.map(|recorded| recorded.phase) {
        None | Some(Phase::Starting | Phase::Failed) => State::Created,
        Some(Phase::Stopped) => State::Exited,
        Some(Phase::Running) if recorded.is_some_and(|recorded| recorded.boot != boot()) => State::Unknown,
        Some(Phase::Running) if recorded.is_some_and(|recorded| cgroup::is_frozen(&recorded.cgroups)) => State::Paused,
        Some(Phase::Running) => State::Running,
    }
}

/// Everything about one instance.
pub(crate) fn observe(context: &Context, operation: &'static str, record: &Record) -> Result<Observed> {
    let Seen { state, recorded } = state(context, operation, record)?;
    let connected = connected(context, record, recorded.as_ref());
    Ok(translate::observed(record, state, recorded.as_ref(), connected))
}

fn connected(context: &Context, record: &Record, recorded: Option<&ShimState>) -> Connected {
    let told: Connected =
        recorded.and_then(|recorded| serde_json::from_value(recorded.network.clone()).ok()).unwrap_or_default();
    told.now(&record.plan.network, context.networks.as_ref(), &record.id)
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
