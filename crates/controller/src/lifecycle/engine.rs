//! What engines tell by themselves: events, lists, and that they do not answer.

use hythe_runtime::{Event, EventKind, State};
use hythe_store::{Desired, DesiredRecord, HealthState, InstanceRecord, Life, ObservedRecord, Phase};
use serde_json::json;

use super::observe::{SAME, calm};
use super::{Facts, Note};
use crate::drift::{Cause, Difference};
use crate::worker::is_same;

pub(super) fn engine(desired: &DesiredRecord, observed: &mut ObservedRecord, event: Event, notes: &mut Vec<Note>) {
    let is = |instance: &Option<InstanceRecord>| {
        instance.as_ref().is_some_and(|instance| is_same(instance, &event.id, event.name.as_deref()))
    };
    if is(&observed.previous) {
        return;
    }
    if !is(&observed.current) {
        let came = matches!(event.kind, EventKind::Created | EventKind::Started);
        observed.sweep |= event.identity.is_some() && came && observed.current.is_some();
        return;
    }
    let halted = observed.halted >= desired.asked && desired.desired == Desired::Stopped;
    let Some(current) = &mut observed.current else { return };
    match event.kind {
        EventKind::Stopped { .. } if matches!(current.life, Life::Running | Life::Paused) => {
            current.life = if desired.desired == Desired::Running { Life::Unknown } else { Life::Exited };
        }
        EventKind::Started if halted && current.id.is_none() => {
            // What was asked for before the stop came late.
            current.life = Life::Unknown;
            observed.halted = 0;
        }
        EventKind::Started if halted && matches!(current.life, Life::Exited | Life::Completed) => {
            current.life = Life::Running;
            let difference = Difference::of_state("stopped", "running", Cause::ChangedByHand);
            let details = json!({ "instance": current.name, "differences": [difference] });
            notes.push(Note::new("drift", "was started by hand", details).at(event.time));
            observed.message = Some("was started by hand".to_owned());
        }
        EventKind::Started if desired.desired == Desired::Running => {
            let told = current.life == Life::Running && current.pid.is_some();
            let known = told && current.started.is_some_and(|started| event.time.duration_since(started) < SAME);
            let ended = observed.exit.as_ref().and_then(|exit| exit.at);
            let before = current.life == Life::Exited && ended.is_some_and(|ended| event.time <= ended);
            if !known && !before && current.life != Life::Intended {
                current.life = Life::Unknown;
                observed.next_try = None;
            }
        }
        EventKind::Removed if matches!(current.life, Life::Running | Life::Paused) => current.life = Life::Unknown,
        EventKind::Paused => {
            notes.push(Note::new("paused", "paused", json!({ "instance": current.name })).at(event.time));
            current.life = Life::Paused;
        }
        EventKind::Unpaused => {
            notes.push(Note::new("unpaused", "unpaused", json!({ "instance": current.name })).at(event.time));
            current.life = Life::Running;
        }
        EventKind::Signalled { .. } => {
            let ours = observed.kick.is_some() || matches!(observed.phase, Phase::Stopping | Phase::Removing);
            let runs = matches!(current.life, Life::Running | Life::Paused | Life::Unknown);
            if !ours && runs && current.started.is_none_or(|started| started <= event.time) {
                current.signalled = Some(event.time);
            }
        }
        EventKind::Stopped { .. }
        | EventKind::Started
        | EventKind::Removed
        | EventKind::OutOfMemory
        | EventKind::Created
        | EventKind::Updated { .. }
        | EventKind::Image { .. } => {}
    }
}

/// The engine was asked for everything: what was missed meanwhile shows now.
pub(super) fn listed(desired: &DesiredRecord, observed: &mut ObservedRecord, state: Option<State>, strays: bool) {
    observed.sweep |= strays && observed.current.is_some();
    if observed.phase == Phase::Unknown || observed.failure.as_ref().is_some_and(|f| f.kind == "unavailable") {
        observed.next_try = None;
        calm(observed);
        observed.phase = match desired.desired {
            Desired::Running => Phase::Pending,
            Desired::Stopped => Phase::Stopped,
            Desired::Removed => Phase::Removing,
        };
    }
    let Some(current) = &mut observed.current else { return };
    if current.life == Life::Intended && !current.tried {
        return;
    }
    let known = current.id.is_some() && current.pid.is_some();
    current.life = match (state, current.life) {
        (Some(State::Running), Life::Running | Life::Unknown) if known => Life::Running,
        (Some(State::Paused), Life::Running | Life::Unknown | Life::Paused) if known => Life::Paused,
        (Some(State::Exited | State::Created), life @ (Life::Exited | Life::Completed)) => life,
        (None, life @ (Life::Exited | Life::Completed)) => life,
        _ => Life::Unknown,
    };
    if current.life == Life::Running
        && current.recipe.component.health.is_some()
        && observed.health == HealthState::None
    {
        observed.health = HealthState::Starting;
    }
}

pub(super) fn lost(observed: &mut ObservedRecord, reason: &str, facts: &Facts<'_>) {
    observed.lost = Some(facts.now);
    for instance in observed.current.iter_mut().chain(&mut observed.previous) {
        if matches!(instance.life, Life::Running | Life::Paused) {
            instance.life = Life::Unknown;
        }
    }
    let live = matches!(
        observed.phase,
        Phase::Running | Phase::Paused | Phase::Starting | Phase::Pulling | Phase::Stopping | Phase::Pending
    );
    if live {
        observed.phase = Phase::Unknown;
        observed.health = HealthState::None;
        observed.message = Some(format!("the runtime does not answer: {reason}"));
    }
}
