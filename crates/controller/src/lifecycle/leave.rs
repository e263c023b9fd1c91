//! What is to stop, or to go: dependents first, then what runs, then what is left.

use hythe_spec::vocabulary::EventKind;
use hythe_store::{DesiredRecord, HealthState, Life, ObservedRecord, Phase};
use serde_json::json;

use super::record::{discard_current, may_run, retire_previous, roll_back};
use super::step::{Facts, Next, Note, Step};

/// A stop is carried out once: an instance that is started out of band later is reported, not stopped.
pub(super) fn stopped(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) -> Next {
    (observed.ahead, observed.blocked) = (None, false);
    let life = observed.current.as_ref().map(|current| current.life);
    if observed.stop_handled >= desired.requests && desired.requests > 0 {
        observed.phase = match life {
            Some(Life::Running) => Phase::Running,
            Some(Life::Paused) => Phase::Paused,
            _ => Phase::Stopped,
        };
        return Next::Wait(None);
    }
    if let Some(name) = &facts.dependent {
        return wait_for_dependent(observed, name);
    }
    if observed.current.as_ref().is_some_and(may_run) {
        observed.phase = Phase::Stopping;
        observed.restart_requested = None;
        return Next::Do(Step::StopCurrent);
    }
    if observed.previous.as_ref().is_some_and(may_run) {
        observed.phase = Phase::Stopping;
        return Next::Do(Step::StopPrevious);
    }
    if observed.prune_strays && observed.current.is_some() {
        return Next::Do(Step::PruneStrays);
    }
    if let Some(step) = keep_one(observed, notes) {
        return Next::Do(step);
    }
    observed.stop_handled = desired.requests;
    if !matches!(observed.phase, Phase::Stopped | Phase::Stopping) {
        notes.push(Note::new(EventKind::Stopped, "nothing of it ran", json!({})));
    }
    observed.phase = Phase::Stopped;
    observed.health = HealthState::None;
    Next::Wait(None)
}

/// What depends on it goes first.
fn wait_for_dependent(observed: &mut ObservedRecord, name: &str) -> Next {
    observed.message = Some(format!("stops after `{name}`"));
    Next::Wait(None)
}

/// When a stop interrupts a replacement, the instance stays that was ready once.
fn keep_one(observed: &mut ObservedRecord, notes: &mut Vec<Note>) -> Option<Step> {
    observed.previous.as_ref()?;
    if observed.current.as_ref().is_some_and(|current| current.ready_once) && observed.rollback.is_none() {
        return retire_previous(observed);
    }
    if let Some(step) = discard_current(observed) {
        return Some(step);
    }
    if observed.rollback.is_some() {
        roll_back(observed, notes);
    } else {
        observed.current = observed.previous.take();
        observed.failure_pending = None;
    }
    None
}

pub(super) fn removed(observed: &mut ObservedRecord, facts: &Facts<'_>) -> Next {
    (observed.ahead, observed.blocked) = (None, false);
    if observed.phase != Phase::Removing {
        observed.phase = Phase::Removing;
        observed.health = HealthState::None;
        observed.prune_strays = true;
    }
    if let Some(name) = &facts.dependent {
        return wait_for_dependent(observed, name);
    }
    if let Some(step) = discard_current(observed) {
        return Next::Do(step);
    }
    if let Some(step) = retire_previous(observed) {
        return Next::Do(step);
    }
    Next::Do(if observed.prune_strays { Step::PruneStrays } else { Step::Undeploy })
}
