//! Which step is next.

use hythe_runtime::ErrorKind;
use hythe_spec::{MountSource, Network};
use hythe_store::{Desired, DesiredRecord, Failure, HealthState, InstanceRecord, Life, ObservedRecord, Phase, Supply};
use serde_json::json;

use super::failed::{concerned, fail};
use super::request::take_request;
use super::{Facts, Gate, Next, Note, Step};
use crate::policy;

/// Settles in the record what needs no engine, then says what follows.
pub(crate) fn decide(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) -> Next {
    take_request(desired, observed);
    if let Some(at) = observed.next_try {
        if at > facts.now {
            return Next::Wait(Some(at));
        }
        observed.next_try = None;
    }
    let (before, told) = (observed.clone(), notes.len());
    let next = match desired.desired {
        Desired::Running => running(desired, observed, facts, notes),
        Desired::Stopped => stopped(desired, observed, notes),
        Desired::Removed => removed(observed),
    };
    match next {
        Next::Do(step) => match unreachable(step, desired, observed, facts) {
            Some(reason) => {
                *observed = before;
                notes.truncate(told);
                block(observed, reason);
                Next::Wait(None)
            }
            None => next,
        },
        Next::Wait(_) => next,
    }
}

/// The runtime that a step needs and that does not answer.
fn unreachable<'a>(
    step: Step,
    desired: &DesiredRecord,
    observed: &ObservedRecord,
    facts: &'a Facts<'_>,
) -> Option<&'a str> {
    let runtime = match step {
        Step::Forget => return None,
        Step::Sweep => Some(&desired.placement.runtime),
        Step::StopPrevious | Step::RemovePrevious => observed.previous.as_ref().map(|previous| &previous.runtime),
        Step::Look
        | Step::MakeVolumes
        | Step::MakeNetworks
        | Step::Pull
        | Step::Run
        | Step::Start
        | Step::StopCurrent
        | Step::RemoveCurrent => observed.current.as_ref().map(|current| &current.runtime),
    };
    facts.down.iter().find(|(name, _)| Some(name) == runtime).map(|(_, reason)| reason.as_str())
}

/// Nothing can be done now; the runtime's return wakes the workload.
fn block(observed: &mut ObservedRecord, reason: &str) {
    observed.phase = Phase::Unknown;
    observed.health = HealthState::None;
    observed.message = Some(reason.to_owned());
}

fn running(desired: &DesiredRecord, observed: &mut ObservedRecord, facts: &Facts<'_>, notes: &mut Vec<Note>) -> Next {
    if observed.sweep && observed.current.is_some() {
        return Next::Do(Step::Sweep);
    }
    if observed.failing.is_some() && observed.current.is_some() {
        return Next::Do(Step::Look);
    }
    if observed.undo.is_some() {
        if let Some(step) = discard_current(observed) {
            return Next::Do(step);
        }
        roll_back(observed, notes);
    }
    if let Some(step) = set_aside(desired, observed) {
        return Next::Do(step);
    }
    if observed.current.is_none() {
        intend(desired, observed);
    }
    let life = observed.current.as_ref().map_or(Life::Intended, |current| current.life);
    match life {
        Life::Unknown => Next::Do(Step::Look),
        Life::Intended => make(desired, observed, facts, notes),
        Life::Exited if observed.phase == Phase::Failed => Next::Wait(None),
        Life::Exited => start(desired, observed, facts, notes),
        Life::Completed => {
            observed.phase = Phase::Completed;
            Next::Wait(None)
        }
        Life::Running | Life::Paused => keep(desired, observed, life),
    }
}

/// Whether the current instance is the one to have; after a rollback that is the old one.
pub(super) fn is_wanted(current: &InstanceRecord, desired: &DesiredRecord, observed: &ObservedRecord) -> bool {
    observed.gave_up == Some(desired.generation)
        || (observed.renew.is_none()
            && current.generation == desired.generation
            && current.recipe.hash == desired.recipe.hash
            && current.runtime == desired.placement.runtime)
}

/// What ran so far becomes the instance to fall back to. One that never proved good goes.
fn set_aside(desired: &DesiredRecord, observed: &mut ObservedRecord) -> Option<Step> {
    let current = observed.current.as_ref()?;
    if is_wanted(current, desired, observed) {
        return None;
    }
    if current.life == Life::Unknown {
        return Some(Step::Look);
    }
    let failed = observed.phase == Phase::Failed && !matches!(current.life, Life::Running | Life::Paused);
    if !current.proven || failed || current.life == Life::Intended {
        return discard_current(observed);
    }
    if observed.previous.is_some() {
        return retire_previous(observed);
    }
    observed.previous = observed.current.take();
    observed.health = HealthState::None;
    observed.kick = None;
    None
}

/// The steps that make the current instance go; `None` once it has gone.
fn discard_current(observed: &mut ObservedRecord) -> Option<Step> {
    let current = observed.current.as_ref()?;
    if may_run(current) {
        return Some(Step::StopCurrent);
    }
    if current.life == Life::Intended {
        observed.current = None;
        return None;
    }
    Some(Step::RemoveCurrent)
}

fn retire_previous(observed: &ObservedRecord) -> Option<Step> {
    let previous = observed.previous.as_ref()?;
    Some(if may_run(previous) { Step::StopPrevious } else { Step::RemovePrevious })
}

fn may_run(instance: &InstanceRecord) -> bool {
    match instance.life {
        Life::Running | Life::Paused | Life::Unknown => true,
        Life::Intended => instance.tried,
        Life::Exited | Life::Completed => false,
    }
}

/// What was replaced comes back in place of what failed.
fn roll_back(observed: &mut ObservedRecord, notes: &mut Vec<Note>) {
    let Some(failure) = observed.undo.take() else { return };
    observed.health = HealthState::None;
    observed.failures = 0;
    observed.supply = Supply::Nothing;
    observed.renew = None;
    match observed.previous.take() {
        Some(mut previous) => {
            let message = rolled_back(&failure, previous.generation);
            let details = json!({ "generation": previous.generation, "logs": failure.lines, "exit": observed.exit });
            notes.push(Note::new("rolled-back", message.clone(), details));
            observed.gave_up = Some(failure.generation);
            observed.message = Some(message);
            observed.phase = if previous.life == Life::Completed { Phase::Completed } else { Phase::Pending };
            if matches!(previous.life, Life::Running | Life::Paused) {
                previous.life = Life::Unknown;
            }
            observed.current = Some(previous);
        }
        None => observed.phase = Phase::Failed,
    }
    observed.failure = Some(failure);
}

/// A rollback in words.
pub(super) fn rolled_back(failure: &Failure, to: u64) -> String {
    let words = failure.message.lines().next().unwrap_or_default();
    format!("generation {} failed, rolled back to {to}: {words}", failure.generation)
}

/// A new attempt; its name is in the record before the engine hears of it.
fn intend(desired: &DesiredRecord, observed: &mut ObservedRecord) {
    let new = observed.generation != desired.generation;
    if new {
        observed.generation = desired.generation;
        observed.attempt = 0;
        observed.restarts = 0;
        observed.failures = 0;
    }
    observed.attempt += 1;
    observed.gave_up = None;
    observed.renew = None;
    observed.kick = None;
    observed.failing = None;
    observed.restarted = desired.restart;
    observed.supply = Supply::Nothing;
    observed.phase = Phase::Pending;
    observed.message = None;
    let workload = hythe_spec::service::workload_name(&desired.service, &desired.recipe.component.name);
    let name = format!("{workload}-{}-{}", desired.generation, observed.attempt);
    let (runtime, recipe) = (&desired.placement.runtime, desired.recipe.clone());
    observed.current = Some(InstanceRecord::intended(runtime, name, recipe, desired.generation, observed.attempt));
}

/// Waits for dependencies and makes room; `None`: the instance may start now.
fn hold(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) -> Option<Next> {
    match &facts.gate {
        Gate::Open => {}
        Gate::Waiting(name) => {
            observed.phase = Phase::Pending;
            observed.message = Some(format!("waits for `{name}`"));
            return Some(Next::Wait(None));
        }
        Gate::Closed(reason) => {
            let failure = Failure {
                generation: concerned(desired, observed),
                kind: ErrorKind::Conflict.as_str().to_owned(),
                message: reason.clone(),
                hint: None,
                lines: Vec::new(),
            };
            fail(desired, observed, failure, notes);
            return Some(Next::Wait(Some(facts.now)));
        }
    }
    let clash = match (&observed.current, &observed.previous) {
        // Of one generation never two run.
        (Some(current), Some(previous)) => {
            let one = previous.generation == current.generation;
            may_run(previous) && (one || policy::clash(&previous.recipe.component, &current.recipe.component))
        }
        _ => false,
    };
    clash.then_some(Next::Do(Step::StopPrevious))
}

fn make(desired: &DesiredRecord, observed: &mut ObservedRecord, facts: &Facts<'_>, notes: &mut Vec<Note>) -> Next {
    if observed.phase == Phase::Failed {
        return Next::Wait(None);
    }
    if let Some(next) = hold(desired, observed, facts, notes) {
        return next;
    }
    if observed.gave_up.is_none() {
        observed.message = None;
    }
    observed.phase = if observed.supply == Supply::Networks { Phase::Pulling } else { Phase::Starting };
    let Some(current) = &mut observed.current else { return Next::Wait(None) };
    let volume = |mount: &hythe_spec::Mount| matches!(mount.source, MountSource::Volume { external: false, .. });
    let has_volumes = current.recipe.component.mounts.iter().any(volume);
    let own_network = current.recipe.component.network == Network::Service;
    let step = match observed.supply {
        Supply::Nothing if has_volumes => Step::MakeVolumes,
        Supply::Nothing | Supply::Volumes if facts.first_of_service && own_network => Step::MakeNetworks,
        Supply::Missing => Step::MakeNetworks,
        Supply::Networks => Step::Pull,
        Supply::Nothing | Supply::Volumes | Supply::Ready | Supply::Complete => {
            current.tried = true;
            if observed.supply != Supply::Complete {
                observed.supply = Supply::Ready;
            }
            Step::Run
        }
    };
    Next::Do(step)
}

fn start(desired: &DesiredRecord, observed: &mut ObservedRecord, facts: &Facts<'_>, notes: &mut Vec<Note>) -> Next {
    if let Some(next) = hold(desired, observed, facts, notes) {
        return next;
    }
    if observed.phase == Phase::Restarting {
        observed.restarts += 1;
    }
    observed.phase = Phase::Starting;
    // Whoever dies now cannot know whether it was started.
    if let Some(current) = &mut observed.current {
        current.life = Life::Unknown;
        current.starting = true;
    }
    Next::Do(Step::Start)
}

/// It runs: it is started anew where that is asked for, and what it replaced goes once it is proven.
fn keep(desired: &DesiredRecord, observed: &mut ObservedRecord, life: Life) -> Next {
    if desired.restart > observed.restarted {
        observed.restarted = desired.restart;
        observed.kick = Some(String::new());
    }
    if observed.kick.is_some() {
        observed.phase = Phase::Stopping;
        return Next::Do(Step::StopCurrent);
    }
    let proven = observed.current.as_ref().is_some_and(|current| current.proven);
    if let Some(step) = retire_previous(observed).filter(|_| proven) {
        return Next::Do(step);
    }
    observed.phase = if life == Life::Paused { Phase::Paused } else { Phase::Running };
    Next::Wait(None)
}

/// A stop is carried out once: what somebody starts by hand later is told, not fought.
fn stopped(desired: &DesiredRecord, observed: &mut ObservedRecord, notes: &mut Vec<Note>) -> Next {
    let life = observed.current.as_ref().map(|current| current.life);
    if observed.halted >= desired.asked && desired.asked > 0 {
        observed.phase = match life {
            Some(Life::Running) => Phase::Running,
            Some(Life::Paused) => Phase::Paused,
            _ => Phase::Stopped,
        };
        return Next::Wait(None);
    }
    if observed.current.as_ref().is_some_and(may_run) {
        observed.phase = Phase::Stopping;
        observed.kick = None;
        return Next::Do(Step::StopCurrent);
    }
    if observed.previous.as_ref().is_some_and(may_run) {
        observed.phase = Phase::Stopping;
        return Next::Do(Step::StopPrevious);
    }
    if observed.sweep && observed.current.is_some() {
        return Next::Do(Step::Sweep);
    }
    if let Some(step) = keep_one(observed, notes) {
        return Next::Do(step);
    }
    observed.halted = desired.asked;
    if !matches!(observed.phase, Phase::Stopped | Phase::Stopping) {
        notes.push(Note::new("stopped", "nothing of it ran", json!({})));
    }
    observed.phase = Phase::Stopped;
    observed.health = HealthState::None;
    Next::Wait(None)
}

/// Of a replacement that a stop interrupts the instance stays that has proven good.
fn keep_one(observed: &mut ObservedRecord, notes: &mut Vec<Note>) -> Option<Step> {
    observed.previous.as_ref()?;
    if observed.current.as_ref().is_some_and(|current| current.proven) && observed.undo.is_none() {
        return retire_previous(observed);
    }
    if let Some(step) = discard_current(observed) {
        return Some(step);
    }
    if observed.undo.is_some() {
        roll_back(observed, notes);
    } else {
        observed.current = observed.previous.take();
        observed.failing = None;
    }
    None
}

fn removed(observed: &mut ObservedRecord) -> Next {
    if observed.phase != Phase::Removing {
        observed.phase = Phase::Removing;
        observed.health = HealthState::None;
        observed.sweep = true;
    }
    if let Some(step) = discard_current(observed) {
        return Next::Do(step);
    }
    if let Some(step) = retire_previous(observed) {
        return Next::Do(step);
    }
    Next::Do(if observed.sweep { Step::Sweep } else { Step::Forget })
}
