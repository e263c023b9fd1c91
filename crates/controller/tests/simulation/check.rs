//! What must hold.

use std::collections::{BTreeMap, BTreeSet};

use hythe_runtime::{Event, EventKind, State};
use hythe_store::{Desired, Phase};

use crate::world::World;

/// A time in which a component may not be started: it was stopped on request, and nobody asked for it since.
#[derive(Debug, Clone)]
pub(crate) struct Silence {
    pub(crate) workload: String,
    pub(crate) from: jiff::Timestamp,
    pub(crate) to: jiff::Timestamp,
}

/// From everything the engine told: never two of one generation at once, never more than two of a workload, nothing started in a silence.
pub(crate) fn history(events: &[Event], silences: &[Silence]) {
    let mut running: BTreeMap<String, BTreeSet<(u64, String)>> = BTreeMap::new();
    for event in events {
        let Some(identity) = &event.identity else { continue };
        let workload = identity.workload();
        let of = running.entry(workload.clone()).or_default();
        let key = (identity.generation, event.id.0.clone());
        match event.kind {
            EventKind::Started => {
                let twin = of.iter().find(|(generation, id)| *generation == key.0 && *id != key.1);
                assert!(twin.is_none(), "two of generation {} of `{workload}` run at {}", key.0, event.time);
                of.insert(key);
                assert!(of.len() <= 2, "{} of `{workload}` run at {}: {of:?}", of.len(), event.time);
                let silence =
                    silences.iter().find(|s| s.workload == workload && s.from < event.time && event.time < s.to);
                assert!(silence.is_none(), "`{workload}` was started at {} in {silence:?}", event.time);
            }
            EventKind::Stopped { .. } | EventKind::Removed => {
                of.remove(&key);
            }
            _ => {}
        }
    }
}

/// At rest: what runs is what is desired.
pub(crate) fn at_rest(world: &World) -> Result<(), String> {
    let seen = world.memory.control().observed();
    let cells = world.controller().workloads();
    for cell in &cells {
        let name = &cell.desired.name;
        let mine: Vec<_> = seen
            .iter()
            .filter(|row| row.identity.as_ref().is_some_and(|identity| identity.workload() == *name))
            .collect();
        let running = mine.iter().filter(|row| matches!(row.state, State::Running | State::Paused)).count();
        let phase = cell.observed.phase;
        let waits = cell.observed.current.as_ref().is_some_and(|current| !current.proven);
        let wanted = match (cell.desired.desired, phase) {
            // Paused by hand before it has proven good: what it replaces stays.
            (Desired::Running, Phase::Paused) if waits && cell.observed.previous.is_some() => running.clamp(1, 2),
            (Desired::Running, Phase::Running | Phase::Paused) => 1,
            (Desired::Running, Phase::Completed | Phase::Failed | Phase::Restarting) => running.min(1),
            (Desired::Running, _) => return Err(format!("`{name}` is {phase:?}")),
            (Desired::Stopped, Phase::Stopped) => 0,
            (Desired::Stopped | Desired::Removed, _) => return Err(format!("`{name}` is {phase:?}, not stopped")),
        };
        if running != wanted {
            return Err(format!("{running} instances of `{name}` run, which is {phase:?}"));
        }
        let kept = cell.observed.current.iter().chain(&cell.observed.previous).count();
        if mine.len() > kept {
            return Err(format!("{} instances of `{name}` are there, {kept} known", mine.len()));
        }
    }
    let known: BTreeSet<String> = cells.iter().map(|cell| cell.desired.name.clone()).collect();
    let stray =
        seen.iter().find(|row| row.identity.as_ref().is_some_and(|identity| !known.contains(&identity.workload())));
    stray.map_or(Ok(()), |row| Err(format!("`{}` belongs to no workload", row.name)))
}
