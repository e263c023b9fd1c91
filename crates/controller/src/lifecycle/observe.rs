//! What is heard of changes the record.

use hythe_runtime::{Error, ErrorKind, InstanceId, Observed, State};
use hythe_store::{
    Cause, Desired, DesiredRecord, Failure, HealthState, InstanceRecord, Life, ObservedRecord, Phase, Supply,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::decide::{is_wanted, rolled_back};
use super::ended::{CRASH_LOOP, describe, ended, exit_record, quote};
use super::engine::{engine, listed, lost};
use super::failed::{concerned, fail, failure_of};
use super::health::health;
use super::{Facts, Input, Note, Outcome, Step};
use crate::drift::{self, Difference};
use crate::policy;
use crate::worker::with_details;

/// The engine's own time of a start differs from ours, and from its event, by less.
pub(super) const SAME: SignedDuration = SignedDuration::from_secs(2);

/// Takes what was heard of into the record; says in `notes` what others should know.
pub(crate) fn observe(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    input: Input,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) {
    match input {
        Input::Ended(step, Ok(outcome)) => done(desired, observed, step, outcome, facts, notes),
        Input::Ended(step, Err(error)) => went_wrong(desired, observed, step, &error, facts, notes),
        Input::Engine(event) => engine(desired, observed, event, notes),
        Input::Listed(state, strays) => listed(desired, observed, state, strays),
        Input::Lost(reason) => lost(observed, &reason, facts),
        Input::Stale => stale(observed),
        Input::Health(state, reason) => health(desired, observed, state, reason, notes),
        Input::Drifted(reason) => drifted(desired, observed, reason, notes),
        Input::Withdrawn => withdrawn(desired, observed, notes),
    }
}

fn done(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    step: Step,
    outcome: Outcome,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) {
    match (step, outcome) {
        (Step::Look, Outcome::Seen(seen, lines)) => looked(desired, observed, seen, lines, facts, notes),
        (Step::Run, Outcome::Made(id)) => made(observed, id, facts),
        (Step::Start, _) => started(observed, facts),
        (Step::MakeVolumes, _) => observed.supply = Supply::Volumes,
        (Step::MakeNetworks, _) => {
            observed.supply = if observed.supply == Supply::Missing { Supply::Networks } else { Supply::Ready };
        }
        (Step::Pull, outcome) => {
            observed.supply = Supply::Complete;
            observed.phase = Phase::Starting;
            if let Outcome::Pulled(Some(image)) = outcome {
                notes.push(Note::new("image.pulled", format!("pulled {image}"), json!({ "image": image })));
            }
        }
        (Step::StopCurrent, Outcome::Seen(seen, _)) => halted(desired, observed, seen.as_deref(), facts, notes),
        (Step::RemoveCurrent, _) => {
            observed.current = None;
            observed.renew = None;
        }
        (Step::StopPrevious, _) => {
            if let Some(previous) = &mut observed.previous {
                previous.life = if previous.life == Life::Completed { Life::Completed } else { Life::Exited };
            }
        }
        (Step::RemovePrevious, _) => observed.previous = None,
        (Step::Sweep, _) => observed.sweep = false,
        (Step::Look | Step::Run | Step::StopCurrent | Step::Forget, _) => {}
    }
}

/// A new instance runs, as far as its engine says.
fn made(observed: &mut ObservedRecord, id: InstanceId, facts: &Facts<'_>) {
    observed.exit = None;
    let Some(current) = &mut observed.current else { return };
    current.id = Some(id.0);
    up(observed, facts);
}

fn started(observed: &mut ObservedRecord, facts: &Facts<'_>) {
    up(observed, facts);
}

/// It was started just now. Its details are read at once where its probes or its ports need them, else when the engine tells of the start.
fn up(observed: &mut ObservedRecord, facts: &Facts<'_>) {
    observed.phase = Phase::Running;
    observed.lost = None;
    observed.supply = Supply::Ready;
    calm(observed);
    let Some(current) = &mut observed.current else { return };
    let probed = current.recipe.component.health.is_some();
    let picked = current.ports.iter().any(|port| port.host_port.is_none());
    current.started = Some(facts.now);
    current.boot = Some(facts.boot.to_owned());
    current.pid = None;
    current.signalled = None;
    current.starting = false;
    current.proven |= !probed;
    current.life = if probed || picked { Life::Unknown } else { Life::Running };
    observed.health = if probed { HealthState::Starting } else { HealthState::None };
}

/// That it was rolled back stays the news while what runs is well.
pub(super) fn calm(observed: &mut ObservedRecord) {
    let kept = observed.failure.take().filter(|_| observed.gave_up.is_some());
    let to = observed.current.as_ref().map_or(0, |current| current.generation);
    observed.message = kept.as_ref().map(|failure| rolled_back(failure, to));
    observed.failure = kept;
}

fn looked(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    seen: Option<Box<Observed>>,
    lines: Vec<String>,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) {
    if let Some(failure) = observed.failing.take() {
        return last_words(desired, observed, failure, seen.as_deref(), lines, facts, notes);
    }
    let Some(seen) = seen else { return gone(desired, observed, facts, notes) };
    let Some(current) = observed.current.take() else { return };
    let before = current.started;
    let starting = current.starting;
    observed.current = Some(InstanceRecord { starting: false, ..with_details(current, &seen) });
    match seen.state {
        // What ended is the run before: it was not started again.
        State::Exited if starting && is_same_start(before, &seen) => alive(observed, Life::Exited),
        State::Running => runs(observed, &seen, before, facts, notes),
        State::Paused => {
            alive(observed, Life::Paused);
            observed.phase = Phase::Paused;
        }
        State::Created => alive(observed, Life::Exited),
        State::Exited => ended(desired, observed, &seen, lines, facts, notes),
        State::Stopping if observed.failures >= CRASH_LOOP => {
            // Whoever was stopping it does not go on with it.
            alive(observed, Life::Running);
            observed.kick = Some("its stop did not end".to_owned());
        }
        State::Stopping | State::Removing | State::Unknown => {
            alive(observed, Life::Unknown);
            observed.failures = observed.failures.saturating_add(1);
            observed.next_try = Some(facts.now + policy::delay(observed.failures));
        }
    }
}

fn is_same_start(before: Option<Timestamp>, seen: &Observed) -> bool {
    before.zip(seen.started).is_some_and(|(before, now)| before.duration_since(now).abs() < SAME)
}

fn alive(observed: &mut ObservedRecord, life: Life) {
    if let Some(current) = &mut observed.current {
        current.life = life;
    }
}

fn runs(
    observed: &mut ObservedRecord,
    seen: &Observed,
    before: Option<Timestamp>,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) {
    if observed.phase != Phase::Running || observed.message.is_none() {
        calm(observed);
    }
    observed.lost = None;
    observed.next_try = None;
    observed.supply = Supply::Ready;
    let Some(current) = &mut observed.current else { return };
    let probed = current.recipe.component.health.is_some();
    current.life = Life::Running;
    current.boot = Some(facts.boot.to_owned());
    current.proven |= !probed;
    let same = is_same_start(before, seen);
    let again = before.is_some_and(|before| seen.started.is_some_and(|now| now.duration_since(before) >= SAME));
    if again {
        let details = json!({ "instance": seen.name, "synthesised": true });
        notes.push(Note::new("started", "was started again while nobody looked", details).at(seen.started));
    }
    if probed && !(same && observed.health != HealthState::None) {
        observed.health = HealthState::Starting;
    }
    if !matches!(observed.phase, Phase::Stopping | Phase::Removing) {
        observed.phase = Phase::Running;
    }
}

/// The engine has no such instance.
fn gone(desired: &DesiredRecord, observed: &mut ObservedRecord, facts: &Facts<'_>, notes: &mut Vec<Note>) {
    let wanted = observed.current.as_ref().is_some_and(|current| is_wanted(current, desired, observed));
    let Some(current) = &mut observed.current else { return };
    let known = current.id.take().is_some();
    let difference = Difference::of_state("running", "absent", drift::Cause::Missing);
    let details = json!({ "instance": current.name, "differences": [difference] });
    if current.adopted {
        // From now on it is one of ours, under a name of ours.
        current.adopted = false;
        current.name = format!("{}-{}-{}", desired.name, current.generation, current.attempt);
    }
    current.life = Life::Intended;
    current.tried = false;
    current.pid = None;
    observed.supply = Supply::Nothing;
    observed.health = HealthState::None;
    if !known || !wanted || desired.desired != Desired::Running {
        return;
    }
    let settled = matches!(observed.phase, Phase::Completed | Phase::Failed);
    let words = if observed.lost.take().is_some() {
        "the engine has lost the instance"
    } else {
        "the instance was removed by hand"
    };
    notes.push(Note::new("drift", words, details));
    if settled {
        return;
    }
    observed.phase = Phase::Pending;
    observed.message = Some(words.to_owned());
    observed.next_try = Some(facts.now + policy::delay(1));
}

/// The last lines of what failed for good were read.
fn last_words(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    failure: Failure,
    seen: Option<&Observed>,
    lines: Vec<String>,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) {
    let _ = facts;
    match seen {
        Some(seen) => {
            let life = match seen.state {
                State::Running => Life::Running,
                State::Paused => Life::Paused,
                State::Created | State::Exited => Life::Exited,
                State::Stopping | State::Removing | State::Unknown => Life::Unknown,
            };
            alive(observed, life);
            if let Some(current) = &mut observed.current {
                current.id = Some(seen.id.0.clone());
            }
            if life == Life::Exited {
                observed.exit = exit_record(seen).or(observed.exit.take());
            }
        }
        None => {
            alive(observed, Life::Intended);
            if let Some(current) = &mut observed.current {
                current.tried = false;
                current.id = None;
            }
        }
    }
    let message = quote(&failure.message, &lines);
    fail(desired, observed, Failure { message, lines, ..failure }, notes);
}

/// The agent has stopped the current instance.
fn halted(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    seen: Option<&Observed>,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) {
    let Some(current) = &mut observed.current else { return };
    current.life = if current.life == Life::Completed { Life::Completed } else { Life::Exited };
    current.pid = None;
    current.signalled = None;
    observed.health = HealthState::None;
    let kick = observed.kick.take();
    let unwell = kick.as_ref().filter(|reason| !reason.is_empty());
    let cause = if unwell.is_some() { Cause::Unhealthy } else { Cause::Stopped };
    let exit = seen.and_then(exit_record).map(|exit| hythe_store::ExitRecord { cause, ..exit });
    if let Some(exit) = &exit {
        observed.exit = Some(exit.clone());
    }
    match (desired.desired, unwell) {
        (Desired::Stopped, _) => {
            let message = exit.as_ref().map(describe);
            let words = message.clone().unwrap_or_else(|| "stopped".to_owned());
            let at = exit.as_ref().and_then(|exit| exit.at);
            notes.push(Note::new("stopped", words, json!({ "exit": exit, "cause": cause })).at(at));
            observed.message = message;
            observed.failures = 0;
        }
        (Desired::Running, Some(reason)) => {
            observed.failures = observed.failures.saturating_add(1);
            let wait = policy::delay(observed.failures);
            let message = format!("was not healthy ({reason}), next start in {} s", wait.as_secs());
            notes.push(Note::new("restarting", message.clone(), json!({ "exit": exit, "cause": cause })));
            observed.phase = Phase::Restarting;
            observed.message = Some(message);
            observed.next_try = Some(facts.now + wait);
        }
        (Desired::Running, None) if kick.is_some() => {
            observed.phase = Phase::Pending;
            observed.supply = Supply::Nothing;
        }
        (Desired::Running | Desired::Removed, _) => {}
    }
}

fn went_wrong(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    step: Step,
    error: &Error,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) {
    match (step, error.kind()) {
        // Something newer is desired: whatever the engine has done is looked at first.
        (Step::StopCurrent, ErrorKind::Cancelled) => alive(observed, Life::Unknown),
        (_, ErrorKind::Cancelled) => {}
        (Step::Run, ErrorKind::NotFound) if observed.supply == Supply::Ready => observed.supply = Supply::Missing,
        (Step::Start, ErrorKind::NotFound) => gone(desired, observed, facts, notes),
        _ if error.is_temporary() || !step.makes() => later(desired, observed, step, error, facts),
        _ => {
            if matches!(step, Step::Run | Step::Start) {
                alive(observed, Life::Unknown);
            }
            observed.failing = Some(failure_of(concerned(desired, observed), error));
        }
    }
}

/// The same again after a while.
fn later(desired: &DesiredRecord, observed: &mut ObservedRecord, step: Step, error: &Error, facts: &Facts<'_>) {
    observed.failures = observed.failures.saturating_add(1);
    observed.next_try = Some(facts.now + policy::delay(observed.failures));
    observed.message = Some(error.message().to_owned());
    if observed.gave_up.is_none() {
        observed.failure = Some(failure_of(concerned(desired, observed), error));
    }
    if matches!(step, Step::Run | Step::Start | Step::StopCurrent) {
        alive(observed, Life::Unknown);
    }
    if error.kind() == ErrorKind::Unavailable && desired.desired != Desired::Removed {
        observed.phase = Phase::Unknown;
    } else if desired.desired == Desired::Running && !matches!(observed.phase, Phase::Running | Phase::Failed) {
        observed.phase = Phase::Restarting;
    }
}

fn stale(observed: &mut ObservedRecord) {
    if let Some(current) = &mut observed.current
        && current.life == Life::Running
    {
        current.life = Life::Unknown;
    }
}

/// Somebody changed it by hand; it is replaced by one as desired where that is the policy.
fn drifted(desired: &DesiredRecord, observed: &mut ObservedRecord, reason: String, notes: &mut Vec<Note>) {
    let settled = observed.previous.is_none() && observed.gave_up != Some(desired.generation);
    let Some(current) = observed.current.as_ref() else { return };
    let runs = matches!(current.life, Life::Running | Life::Paused);
    if desired.heal && desired.desired == Desired::Running && runs && settled && observed.renew.is_none() {
        notes.push(Note::new("healing", format!("replaced because of {reason}"), json!({ "reason": reason })));
        observed.renew = Some(reason);
    }
}

/// A withdrawn request undoes what it has begun and nobody has seen to be good.
fn withdrawn(desired: &DesiredRecord, observed: &mut ObservedRecord, notes: &mut Vec<Note>) {
    let unproven = observed.current.as_ref().is_some_and(|current| !current.proven);
    if desired.desired != Desired::Running || !unproven {
        return;
    }
    let failure = Failure {
        generation: concerned(desired, observed),
        kind: ErrorKind::Cancelled.as_str().to_owned(),
        message: "cancelled".to_owned(),
        hint: None,
        lines: Vec::new(),
    };
    fail(desired, observed, failure, notes);
}
