//! What is heard of changes the record.

use hythe_runtime::{ErrorKind, InstanceId, Observed, State};
use hythe_spec::vocabulary::EventKind;
use hythe_store::{
    Desired, DesiredRecord, Failure, HealthState, InstanceRecord, Life, ObservedRecord, Phase, Prerequisites,
};
use jiff::Timestamp;
use serde_json::json;

use super::ahead::{advance, give_up};
use super::health::{health, image_check};
use super::on_error::on_error;
use super::on_event::{on_absent, on_event, on_listed, on_lost};
use super::on_exit::{CRASH_LOOP, exit_record, on_exit, on_stopped, quote};
use super::on_failure::{concerned, on_failure};
use super::record::{attempt_again, clear_error, is_ahead, is_replaced, set_life};
use super::refresh::is_refreshed;
use super::reload;
use super::step::{Facts, Input, Note, Outcome, Step};
use crate::model::with_details;
use crate::policy;
use crate::starts::{self, SAME};

/// Takes what was heard of into the record; says in `notes` what others should know.
pub(crate) fn apply(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    input: Input,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) {
    match input {
        Input::Ended(step, Ok(outcome)) => done(desired, observed, step, outcome, facts, notes),
        Input::Ended(step, Err(error)) => on_error(desired, observed, step, &error, facts, notes),
        Input::Engine(event) => on_event(desired, observed, event, notes),
        Input::Listed(state, strays) => on_listed(desired, observed, state, strays),
        Input::Lost(reason) => on_lost(observed, &reason, facts),
        Input::Stale => stale(observed),
        Input::Waiting(pending) => observed.message = Some(pending.to_string()),
        Input::ImageCheck(check) => image_check(observed, check, notes),
        Input::Signalled(sent) => {
            if let Some(current) = &mut observed.current {
                current.sent = Some(sent);
            }
        }
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
        (Step::Inspect, Outcome::Seen(seen, lines)) => on_inspected(desired, observed, seen, lines, facts, notes),
        (Step::Run, Outcome::Made(id)) => made(observed, id, facts),
        (Step::Start, _) => started(observed, facts),
        (Step::MakeVolumes | Step::MakeNetworks, _) if is_ahead(observed) => advance_ahead(observed, step),
        (Step::MakeVolumes, _) => observed.prerequisites = Prerequisites::Volumes,
        (Step::MakeNetworks, _) => {
            observed.prerequisites = if observed.prerequisites == Prerequisites::Missing {
                Prerequisites::Networks
            } else {
                Prerequisites::Ready
            };
        }
        (Step::Pull, outcome) => {
            if is_ahead(observed) {
                advance_ahead(observed, step);
            } else if !is_refreshed(desired, observed) {
                observed.prerequisites = Prerequisites::Complete;
                observed.phase = Phase::Starting;
            }
            observed.refreshed = desired.refresh;
            if let Outcome::Pulled(Some(image)) = outcome {
                notes.push(Note::new(EventKind::ImagePulled, format!("pulled {image}"), json!({ "image": image })));
            }
        }
        (Step::Signal, Outcome::Sent(reload)) => reload::sent(observed, reload, notes),
        (Step::Signal, Outcome::Unseen(path)) => reload::unseen(desired, observed, &path, notes),
        (Step::StopCurrent, Outcome::Seen(seen, _)) => on_stopped(desired, observed, seen.as_deref(), facts, notes),
        (Step::RemoveCurrent, _) => {
            let ended = observed.current.take().filter(|ended| ended.attempted_again);
            observed.current = ended.map(|ended| attempt_again(desired, observed, &ended));
            observed.replace_requested = None;
        }
        (Step::StopPrevious, _) => {
            if let Some(previous) = &mut observed.previous {
                previous.life = if previous.life == Life::Succeeded { Life::Succeeded } else { Life::Exited };
            }
        }
        (Step::RemovePrevious, _) => observed.previous = None,
        (Step::PruneStrays, _) => observed.prune_strays = false,
        (Step::Inspect | Step::Run | Step::Signal | Step::StopCurrent | Step::Undeploy, _) => {}
    }
}

/// The next instance has what this step brings.
fn advance_ahead(observed: &mut ObservedRecord, step: Step) {
    if let Some(ahead) = &mut observed.ahead {
        advance(ahead, step);
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

/// It was started just now. It is inspected at once where its probes or its ports need details, else when the engine reports the start.
fn up(observed: &mut ObservedRecord, facts: &Facts<'_>) {
    observed.phase = Phase::Running;
    observed.lost = None;
    observed.prerequisites = Prerequisites::Ready;
    clear_error(observed);
    let Some(current) = &mut observed.current else { return };
    let probed = current.is_probed();
    let picked = current.ports.iter().any(|port| port.host_port.is_none());
    current.started = Some(facts.now);
    current.boot = Some(facts.boot.to_owned());
    current.pid = None;
    current.signalled = None;
    current.sent = None;
    current.starting = false;
    current.attempted_again = false;
    current.ready_once |= !probed;
    current.life = if probed || picked { Life::Unknown } else { Life::Running };
    observed.health = if probed { HealthState::Starting } else { HealthState::None };
}

fn on_inspected(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    seen: Option<Box<Observed>>,
    lines: Vec<String>,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) {
    if let Some(failure) = observed.failure_pending.take() {
        return on_last_log_lines(desired, observed, failure, seen.as_deref(), lines, notes);
    }
    let Some(seen) = seen else { return on_absent(desired, observed, facts, notes) };
    let Some(current) = observed.current.take() else { return };
    let before = current.started;
    let starting = current.starting;
    observed.current = Some(InstanceRecord { starting: false, ..with_details(current, &seen) });
    match seen.state {
        // What ended is the run before: it was not started again.
        State::Exited if starting && is_same_start(before, &seen) => set_life(observed, Life::Exited),
        State::Running => on_running(observed, &seen, (before, starting), facts, notes),
        State::Paused => {
            set_life(observed, Life::Paused);
            observed.phase = Phase::Paused;
        }
        State::Pending => is_pending(observed, &seen),
        State::Created => set_life(observed, Life::Exited),
        State::Exited => on_exit(desired, observed, &seen, lines, facts, notes),
        State::Stopping if observed.failures >= CRASH_LOOP => {
            // Whoever was stopping it does not go on with it.
            set_life(observed, Life::Running);
            observed.restart_requested = Some("its stop did not end".to_owned());
        }
        State::Stopping | State::Removing | State::Unknown => {
            set_life(observed, Life::Unknown);
            observed.failures = observed.failures.saturating_add(1);
            observed.next_try = Some(facts.now + policy::delay(observed.failures));
        }
    }
}

/// Its engine has been asked to start it, and is waited for by the same call again.
fn is_pending(observed: &mut ObservedRecord, seen: &Observed) {
    observed.message = seen.pending.as_ref().map(ToString::to_string);
    observed.prerequisites = Prerequisites::Complete;
    set_life(observed, Life::Pending);
    if let Some(current) = &mut observed.current {
        current.create_attempted = true;
    }
}

fn is_same_start(before: Option<Timestamp>, seen: &Observed) -> bool {
    before.zip(seen.started).is_some_and(|(before, now)| before.duration_since(now).abs() < SAME)
}

fn on_running(
    observed: &mut ObservedRecord,
    seen: &Observed,
    (before, starting): (Option<Timestamp>, bool),
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) {
    if observed.phase != Phase::Running || observed.message.is_none() {
        clear_error(observed);
    }
    observed.lost = None;
    observed.next_try = None;
    observed.prerequisites = Prerequisites::Ready;
    let Some(current) = &mut observed.current else { return };
    let probed = current.is_probed();
    current.life = Life::Running;
    current.boot = Some(facts.boot.to_owned());
    current.ready_once |= !probed;
    let same = is_same_start(before, seen);
    let again = before.is_some_and(|before| seen.started.is_some_and(|now| now.duration_since(before) >= SAME));
    if again {
        // The agent's own start, whose reply was lost, was counted where it was to be.
        observed.restarts += u32::from(!starting);
        let words = if starting { "started" } else { "was started again unobserved" };
        notes.push(Note::new(EventKind::Started, words, starts::synthesised(&seen.name)).at(seen.started));
    }
    if probed && !(same && observed.health != HealthState::None) {
        observed.health = HealthState::Starting;
    } else if !probed {
        observed.health = HealthState::None;
    }
    if !matches!(observed.phase, Phase::Stopping | Phase::Removing) {
        observed.phase = Phase::Running;
    }
}

/// The last lines of what failed for good were read.
fn on_last_log_lines(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    failure: Failure,
    seen: Option<&Observed>,
    lines: Vec<String>,
    notes: &mut Vec<Note>,
) {
    match seen {
        Some(seen) => {
            let life = match seen.state {
                State::Running => Life::Running,
                State::Paused => Life::Paused,
                State::Created | State::Exited => Life::Exited,
                State::Pending | State::Stopping | State::Removing | State::Unknown => Life::Unknown,
            };
            set_life(observed, life);
            if let Some(current) = &mut observed.current {
                current.id = Some(seen.id.0.clone());
            }
            if life == Life::Exited {
                observed.exit = exit_record(seen).or(observed.exit.take());
            }
        }
        None => {
            set_life(observed, Life::Pending);
            if let Some(current) = &mut observed.current {
                current.create_attempted = false;
                current.id = None;
            }
        }
    }
    let message = quote(&failure.message, &lines);
    on_failure(desired, observed, Failure { message, lines, ..failure }, notes);
}

fn stale(observed: &mut ObservedRecord) {
    if let Some(current) = &mut observed.current
        && current.life == Life::Running
    {
        current.life = Life::Unknown;
    }
}

/// It was changed out of band. Under the policy `heal` it is replaced by an instance as desired.
fn drifted(desired: &DesiredRecord, observed: &mut ObservedRecord, reason: String, notes: &mut Vec<Note>) {
    let settled =
        observed.previous.is_none() && !is_ahead(observed) && observed.rolled_back_from != Some(desired.generation);
    let Some(current) = observed.current.as_ref() else { return };
    let runs = matches!(current.life, Life::Running | Life::Paused);
    if desired.heal && desired.desired == Desired::Running && runs && settled && observed.replace_requested.is_none() {
        notes.push(Note::new(EventKind::Healing, format!("replaced because of {reason}"), json!({ "reason": reason })));
        observed.replace_requested = Some(reason);
    }
}

/// A withdrawn request undoes what it has begun and nobody has seen to be good.
fn withdrawn(desired: &DesiredRecord, observed: &mut ObservedRecord, notes: &mut Vec<Note>) {
    let unproven = observed.current.as_ref().is_some_and(|current| !current.ready_once);
    let replaced = is_replaced(desired, observed);
    if desired.desired != Desired::Running || !(unproven || replaced) {
        return;
    }
    let failure = Failure {
        generation: if replaced { desired.generation } else { concerned(desired, observed) },
        kind: ErrorKind::Cancelled.as_str().to_owned(),
        message: "cancelled".to_owned(),
        hint: None,
        lines: Vec::new(),
    };
    if replaced {
        give_up(desired, observed, failure, notes);
    } else {
        on_failure(desired, observed, failure, notes);
    }
}
