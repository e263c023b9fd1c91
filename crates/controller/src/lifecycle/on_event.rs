//! What engines report by themselves: events, lists, and that they do not answer.

use hythe_runtime::{Event, EventKind as EngineEventKind, State, identity};
use hythe_spec::vocabulary::{DriftCause, EventKind};
use hythe_store::{Desired, DesiredRecord, HealthState, InstanceRecord, Life, ObservedRecord, Phase, Prerequisites};
use serde_json::json;

use super::record::{clear_error, is_replaced, is_wanted};
use super::step::{Facts, Note};
use crate::model::{Difference, is_same};
use crate::policy;
use crate::starts::SAME;

pub(super) fn on_event(desired: &DesiredRecord, observed: &mut ObservedRecord, event: Event, notes: &mut Vec<Note>) {
    let is = |instance: &Option<InstanceRecord>| {
        instance.as_ref().is_some_and(|instance| is_same(instance, &event.id, event.name.as_deref()))
    };
    if is(&observed.previous) {
        return;
    }
    if !is(&observed.current) {
        let came = matches!(event.kind, EngineEventKind::Created | EngineEventKind::Started);
        observed.prune_strays |= event.identity.is_some() && came && observed.current.is_some();
        return;
    }
    let stop_handled = observed.stop_handled >= desired.requests && desired.desired == Desired::Stopped;
    let Some(current) = &mut observed.current else { return };
    match event.kind {
        EngineEventKind::Stopped { .. } if matches!(current.life, Life::Running | Life::Paused) => {
            current.life = if desired.desired == Desired::Running { Life::Unknown } else { Life::Exited };
        }
        EngineEventKind::Started if stop_handled && current.id.is_none() => {
            // What was asked for before the stop came late.
            current.life = Life::Unknown;
            observed.stop_handled = 0;
        }
        EngineEventKind::Started if stop_handled && matches!(current.life, Life::Exited | Life::Succeeded) => {
            current.life = Life::Running;
            let difference = Difference::of_state("stopped", "running", DriftCause::Modified);
            let details = json!({ "instance": current.name, "differences": [difference] });
            notes.push(Note::new(EventKind::Drift, "was started out of band", details).at(event.time));
            observed.message = Some("was started out of band".to_owned());
        }
        EngineEventKind::Started if desired.desired == Desired::Running => {
            let inspected = current.life == Life::Running && current.pid.is_some();
            let known = inspected && current.started.is_some_and(|started| event.time.duration_since(started) < SAME);
            let ended = observed.exit.as_ref().and_then(|exit| exit.at);
            let before = current.life == Life::Exited && ended.is_some_and(|ended| event.time <= ended);
            if !known && !before && current.life != Life::Pending {
                current.life = Life::Unknown;
                observed.next_try = None;
            }
        }
        EngineEventKind::Removed if matches!(current.life, Life::Running | Life::Paused) => {
            current.life = Life::Unknown
        }
        EngineEventKind::Paused => {
            notes.push(Note::new(EventKind::Paused, "paused", json!({ "instance": current.name })).at(event.time));
            current.life = Life::Paused;
        }
        EngineEventKind::Unpaused => {
            notes.push(Note::new(EventKind::Unpaused, "unpaused", json!({ "instance": current.name })).at(event.time));
            current.life = Life::Running;
        }
        EngineEventKind::Signalled { .. } => {
            let asked = current.sent.is_some_and(|sent| event.time.duration_since(sent.at).abs() < SAME);
            let ours = asked
                || observed.restart_requested.is_some()
                || matches!(observed.phase, Phase::Stopping | Phase::Removing);
            let runs = matches!(current.life, Life::Running | Life::Paused | Life::Unknown);
            if !ours && runs && current.started.is_none_or(|started| started <= event.time) {
                current.signalled = Some(event.time);
            }
        }
        EngineEventKind::Stopped { .. }
        | EngineEventKind::Started
        | EngineEventKind::Removed
        | EngineEventKind::OutOfMemory
        | EngineEventKind::Created
        | EngineEventKind::Gap
        | EngineEventKind::Updated { .. }
        | EngineEventKind::Image { .. } => {}
    }
}

/// The engine was asked for everything: what was missed meanwhile shows now.
pub(super) fn on_listed(desired: &DesiredRecord, observed: &mut ObservedRecord, state: Option<State>, strays: bool) {
    observed.prune_strays |= strays && observed.current.is_some();
    if observed.phase == Phase::Unknown || observed.failure.as_ref().is_some_and(|f| f.kind == "unavailable") {
        observed.next_try = None;
        clear_error(observed);
        observed.phase = match desired.desired {
            Desired::Running => Phase::Pending,
            Desired::Stopped => Phase::Stopped,
            Desired::Removed => Phase::Removing,
        };
    }
    let Some(current) = &mut observed.current else { return };
    if current.life == Life::Pending && !current.create_attempted {
        return;
    }
    let known = current.id.is_some() && current.pid.is_some();
    current.life = match (state, current.life) {
        (Some(State::Running), Life::Running | Life::Unknown) if known => Life::Running,
        (Some(State::Paused), Life::Running | Life::Unknown | Life::Paused) if known => Life::Paused,
        (Some(State::Exited | State::Created), life @ (Life::Exited | Life::Succeeded)) => life,
        (None, life @ (Life::Exited | Life::Succeeded)) => life,
        _ => Life::Unknown,
    };
    if current.life == Life::Running && current.health().is_some() && observed.health == HealthState::None {
        observed.health = HealthState::Starting;
    }
}

pub(super) fn on_lost(observed: &mut ObservedRecord, reason: &str, facts: &Facts<'_>) {
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

/// The engine has no such instance.
pub(super) fn on_absent(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) {
    let wanted = is_replaced(desired, observed)
        || observed.current.as_ref().is_some_and(|current| is_wanted(current, desired, observed));
    let Some(current) = &mut observed.current else { return };
    let known = current.id.take().is_some();
    let difference = Difference::of_state("running", "absent", DriftCause::Missing);
    let details = json!({ "instance": current.name, "differences": [difference] });
    if current.adopted {
        // From now on it is one of ours, under a name of ours.
        current.adopted = false;
        current.name = identity::instance_name(&desired.name, current.generation, current.attempt);
    }
    current.life = Life::Pending;
    current.create_attempted = false;
    current.pid = None;
    observed.prerequisites = Prerequisites::Nothing;
    observed.health = HealthState::None;
    if !known || !wanted || desired.desired != Desired::Running {
        return;
    }
    let settled = matches!(observed.phase, Phase::Completed | Phase::Failed);
    let words = if observed.lost.take().is_some() {
        "the engine has lost the instance"
    } else {
        "the instance was removed out of band"
    };
    notes.push(Note::new(EventKind::Drift, words, details));
    if settled {
        return;
    }
    observed.phase = Phase::Pending;
    observed.message = Some(words.to_owned());
    observed.next_try = Some(facts.now + policy::delay(1));
}
