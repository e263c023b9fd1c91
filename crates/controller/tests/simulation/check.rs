//! What must hold.

use std::collections::{BTreeMap, BTreeSet};

use hythe_controller::{DeployPlan, WorkloadState};
use hythe_runtime::{Event, EventKind, State};
use hythe_spec::vocabulary::ComponentAction as Action;
use hythe_spec::{Condition, Dependency};
use hythe_store::{Desired, HealthState, Phase};

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

/// Where the engine starts nothing again, no instance runs twice.
pub(crate) fn each_runs_once(events: &[Event]) -> Result<(), String> {
    let mut started = BTreeSet::new();
    let mut starts = events.iter().filter(|event| event.kind == EventKind::Started && event.identity.is_some());
    let twice = starts.find(|event| !started.insert(&event.id.0));
    twice.map_or(Ok(()), |event| Err(format!("`{}` was started again at {}", event.id.0, event.time)))
}

/// A generation of web that waits for a generation of the job, both accepted at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    web: u64,
    job: u64,
    /// Where the store was lost, generations are counted anew.
    since: jiff::Timestamp,
}

impl Need {
    pub(crate) fn of(plan: &DeployPlan, since: jiff::Timestamp) -> Option<Self> {
        let new = |name: &str| {
            let is = |action| matches!(action, Action::Create | Action::Replace);
            let mut all = plan.components.iter().map(|component| (component.action, &component.desired));
            all.find(|(action, desired)| is(*action) && desired.spec.component.name == name).map(|(_, desired)| desired)
        };
        let (web, job) = (new("web")?, new("job")?);
        web.spec.component.depends_on.get("job")?;
        Some(Self { web: web.generation, job: job.generation, since })
    }
}

/// Never does web run in a generation whose job has not done its work.
pub(crate) fn order(events: &[Event], needs: &[Need]) -> Result<(), String> {
    let mut done = 0;
    for event in events {
        let Some(identity) = &event.identity else { continue };
        match (identity.component.as_str(), &event.kind) {
            ("job", EventKind::Stopped { exit }) if exit.code == Some(0) => done = identity.generation.max(done),
            ("web", EventKind::Started) => {
                let early = needs
                    .iter()
                    .find(|need| need.web == identity.generation && need.job > done && need.since <= event.time);
                if let Some(need) = early {
                    return Err(format!("generation {} of web runs at {} without {need:?}", need.web, event.time));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// What is said to be deployed is.
pub(crate) fn deployed(world: &World) -> Result<(), String> {
    for state in world.controller().workloads() {
        let runs = state.observed.current.as_ref().map(|current| current.generation);
        if state.desired.desired == Desired::Running && runs != Some(state.desired.generation) {
            let (name, newest) = (&state.desired.name, state.desired.generation);
            return Err(format!("`{name}` is deployed, and generation {runs:?} runs of {newest}"));
        }
    }
    Ok(())
}

/// Nothing stays behind for want of a dependency that is as it must be.
fn is_held_back(state: &WorkloadState, states: &[WorkloadState]) -> Result<(), String> {
    let failure = state.observed.failure.as_ref().map(|failure| failure.message.clone()).unwrap_or_default();
    if state.desired.desired != Desired::Running || !failure.starts_with("its dependency") {
        return Ok(());
    }
    let is_met = |(name, dependency): (&String, &Dependency)| {
        let of = states.iter().find(|state| state.desired.spec.component.name == *name);
        let Some(of) = of else { return false };
        let current = of.observed.current.as_ref().is_some_and(|current| current.generation == of.desired.generation);
        let up = of.observed.phase == Phase::Running;
        current
            && match dependency.condition {
                Condition::Started => up,
                Condition::Healthy => up && of.observed.health == HealthState::Healthy,
                Condition::Completed => of.observed.phase == Phase::Completed,
            }
    };
    let all = state.desired.spec.component.depends_on.iter().all(is_met);
    if all { Err(format!("`{}` stays behind: {failure}", state.desired.name)) } else { Ok(()) }
}

/// At rest: what runs is what is desired.
pub(crate) fn at_rest(world: &World) -> Result<(), String> {
    let seen = world.memory.control().observed();
    let states = world.controller().workloads();
    for state in &states {
        let name = &state.desired.name;
        let mine: Vec<_> = seen
            .iter()
            .filter(|row| row.identity.as_ref().is_some_and(|identity| identity.workload() == *name))
            .collect();
        let running = mine.iter().filter(|row| matches!(row.state, State::Running | State::Paused)).count();
        let phase = state.observed.phase;
        let waits = state.observed.current.as_ref().is_some_and(|current| !current.ready_once);
        let wanted = match (state.desired.desired, phase) {
            // Paused by hand before it has proven good: what it replaces stays.
            (Desired::Running, Phase::Paused) if waits && state.observed.previous.is_some() => running.clamp(1, 2),
            (Desired::Running, Phase::Running | Phase::Paused) => 1,
            (Desired::Running, Phase::Completed | Phase::Failed | Phase::Restarting) => running.min(1),
            (Desired::Running, _) => return Err(format!("`{name}` is {phase:?}")),
            (Desired::Stopped, Phase::Stopped) => 0,
            (Desired::Stopped | Desired::Removed, _) => return Err(format!("`{name}` is {phase:?}, not stopped")),
        };
        if running != wanted {
            return Err(format!("{running} instances of `{name}` run, which is {phase:?}"));
        }
        is_held_back(state, &states)?;
        let behind = state.desired.follow.iter().any(|(on, count)| state.observed.followed.get(on) < Some(count));
        if behind && phase == Phase::Running && !state.observed.follow_stalled {
            return Err(format!("`{name}` was not restarted after a dependency: {:?}", state.desired.follow));
        }
        let kept = state.observed.current.iter().chain(&state.observed.previous).count();
        if mine.len() > kept {
            return Err(format!("{} instances of `{name}` are there, {kept} known", mine.len()));
        }
    }
    let known: BTreeSet<String> = states.iter().map(|state| state.desired.name.clone()).collect();
    let stray =
        seen.iter().find(|row| row.identity.as_ref().is_some_and(|identity| !known.contains(&identity.workload())));
    stray.map_or(Ok(()), |row| Err(format!("`{}` belongs to no workload", row.name)))
}
