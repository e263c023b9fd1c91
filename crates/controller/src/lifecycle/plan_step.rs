//! Which step is next.

use hythe_runtime::identity;
use hythe_spec::{MountSource, Network};
use hythe_store::{Desired, DesiredRecord, HealthState, InstanceRecord, Life, ObservedRecord, Phase, Prerequisites};

use super::ahead::{Course, dependency_failure, give_back, prepare, try_again};
use super::follow::{started, take_follow};
use super::leave::{removed, stopped};
use super::on_failure::{concerned, on_failure};
use super::record::{discard_current, is_ahead, is_replaced, is_wanted, may_run, retire_previous, roll_back};
use super::refresh;
use super::request::take_request;
use super::steady::steady;
use super::step::{DependencyGate, Facts, Next, Note, Step};
use crate::policy;

/// Settles in the record what needs no engine, then says what follows.
pub(crate) fn plan_step(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) -> Next {
    take_request(desired, observed);
    take_follow(desired, observed, facts.follow);
    if let Some(next) = back_off(desired, observed, facts, notes) {
        return next;
    }
    let (before, noted) = (observed.clone(), notes.len());
    let next = match desired.desired {
        Desired::Running => earlier(running(desired, observed, facts, notes), observed),
        Desired::Stopped => stopped(desired, observed, facts, notes),
        Desired::Removed => removed(observed, facts),
    };
    match next {
        Next::Do(step) => match unreachable(step, desired, observed, facts) {
            Some(reason) => {
                *observed = before;
                notes.truncate(noted);
                block(observed, reason);
                Next::Wait(None)
            }
            None => next,
        },
        Next::Wait(_) => next,
    }
}

/// Nothing is done to the current instance before its time; what the next one needs is seen to all the same.
fn back_off(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) -> Option<Next> {
    let at = observed.next_try.filter(|at| *at > facts.now);
    let Some(at) = at else {
        observed.next_try = None;
        return None;
    };
    let known = observed.current.as_ref().is_some_and(|current| current.life != Life::Unknown);
    if desired.desired != Desired::Running
        || !known
        || observed.rollback.is_some()
        || observed.failure_pending.is_some()
    {
        return Some(Next::Wait(Some(at)));
    }
    try_again(desired, observed, facts);
    match prepare(desired, observed, facts, notes) {
        Course::Do(step) => Some(Next::Do(step)),
        Course::Ready => {
            observed.next_try = None;
            None
        }
        Course::Straight | Course::Waits(_) => Some(earlier(Next::Wait(Some(at)), observed)),
    }
}

/// Waits no longer than until what the next instance lacks is asked for again.
fn earlier(next: Next, observed: &ObservedRecord) -> Next {
    let again = observed.ahead.as_ref().and_then(|ahead| ahead.next_try);
    match next {
        Next::Wait(until) => Next::Wait(until.into_iter().chain(again).min()),
        Next::Do(_) => next,
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
        Step::Undeploy => return None,
        Step::PruneStrays => Some(&desired.placement.runtime),
        Step::MakeVolumes | Step::MakeNetworks | Step::Pull if is_ahead(observed) => Some(&desired.placement.runtime),
        Step::StopPrevious | Step::RemovePrevious => observed.previous.as_ref().map(|previous| &previous.runtime),
        Step::Inspect
        | Step::MakeVolumes
        | Step::MakeNetworks
        | Step::Pull
        | Step::Run
        | Step::Start
        | Step::Signal
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
    if observed.prune_strays && observed.current.is_some() {
        return Next::Do(Step::PruneStrays);
    }
    if observed.failure_pending.is_some() && observed.current.is_some() {
        return Next::Do(Step::Inspect);
    }
    if observed.rollback.is_some() {
        if let Some(step) = discard_current(observed) {
            return Next::Do(step);
        }
        roll_back(observed, notes);
    }
    if let Some(step) = give_back(desired, observed) {
        return Next::Do(step);
    }
    try_again(desired, observed, facts);
    match prepare(desired, observed, facts, notes) {
        Course::Do(step) => return Next::Do(step),
        Course::Waits(_) => return supervise(desired, observed, facts, notes),
        Course::Ready => {
            if let Some(step) = retire_previous(observed) {
                return Next::Do(step);
            }
            take_over(desired, observed);
        }
        Course::Straight => {}
    }
    if let Some(step) = clear_away(desired, observed) {
        return Next::Do(step);
    }
    if observed.current.is_none() {
        intend(desired, observed);
    }
    supervise(desired, observed, facts, notes)
}

/// The current instance is brought up and kept so.
fn supervise(desired: &DesiredRecord, observed: &mut ObservedRecord, facts: &Facts<'_>, notes: &mut Vec<Note>) -> Next {
    let life = observed.current.as_ref().map_or(Life::Pending, |current| current.life);
    match life {
        Life::Unknown => Next::Do(Step::Inspect),
        Life::Pending => make(desired, observed, facts, notes),
        Life::Exited if observed.phase == Phase::Failed => Next::Wait(None),
        // It did not run when it was to be replaced.
        Life::Exited if observed.phase == Phase::Pending && is_replaced(desired, observed) => Next::Wait(None),
        Life::Exited => start(desired, observed, facts, notes),
        Life::Succeeded => {
            observed.phase = Phase::Completed;
            if !facts.fetching && refresh::is_due(desired, observed) {
                return Next::Do(Step::Pull);
            }
            retire_previous(observed).map_or(Next::Wait(None), Next::Do)
        }
        Life::Running | Life::Paused => steady(desired, observed, facts, life),
    }
}

/// What ran so far becomes the instance to fall back to; all that the next one needs is there.
fn take_over(desired: &DesiredRecord, observed: &mut ObservedRecord) {
    observed.previous = observed.current.take();
    observed.health = HealthState::None;
    intend(desired, observed);
    observed.prerequisites = Prerequisites::Complete;
}

/// What is not wanted and has never proved good, or no longer does, goes.
fn clear_away(desired: &DesiredRecord, observed: &mut ObservedRecord) -> Option<Step> {
    let current = observed.current.as_ref()?;
    if is_wanted(current, desired, observed) {
        return None;
    }
    if current.life == Life::Unknown {
        return Some(Step::Inspect);
    }
    discard_current(observed)
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
    observed.rolled_back_from = None;
    observed.replace_requested = None;
    observed.restart_requested = None;
    observed.failure_pending = None;
    observed.ahead = None;
    observed.blocked = false;
    observed.restarted = desired.restart;
    observed.prerequisites = Prerequisites::Nothing;
    observed.phase = Phase::Pending;
    observed.message = None;
    let workload = hythe_spec::service::workload_name(&desired.service, &desired.spec.component.name);
    let name = identity::instance_name(&workload, desired.generation, observed.attempt);
    let (runtime, spec) = (&desired.placement.runtime, desired.spec.clone());
    observed.current = Some(InstanceRecord::pending(runtime, name, spec, desired.generation, observed.attempt));
}

/// Waits for dependencies, then stops an instance that conflicts; `None`: the instance may start now. A replacement has waited already; the instance of a
/// rollback, or one that runs until it is replaced, does not wait.
fn wait_for_dependencies(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) -> Option<Next> {
    let asks =
        observed.previous.is_none() && !is_ahead(observed) && observed.rolled_back_from != Some(desired.generation);
    match &facts.gate {
        DependencyGate::Waiting(name) if asks => {
            observed.phase = Phase::Pending;
            observed.message = Some(format!("waits for `{name}`"));
            return Some(Next::Wait(None));
        }
        DependencyGate::Closed(reason) if asks => {
            on_failure(desired, observed, dependency_failure(concerned(desired, observed), reason), notes);
            observed.blocked = true;
            return Some(Next::Wait(Some(facts.now)));
        }
        DependencyGate::Open | DependencyGate::Waiting(_) | DependencyGate::Closed(_) => {}
    }
    let clash = match (&observed.current, &observed.previous) {
        // Of one generation never two run.
        (Some(current), Some(previous)) => {
            let one = previous.generation == current.generation;
            may_run(previous) && (one || policy::clash(&previous.spec.component, &current.spec.component))
        }
        _ => false,
    };
    clash.then_some(Next::Do(Step::StopPrevious))
}

fn make(desired: &DesiredRecord, observed: &mut ObservedRecord, facts: &Facts<'_>, notes: &mut Vec<Note>) -> Next {
    if observed.phase == Phase::Failed {
        return Next::Wait(None);
    }
    if let Some(next) = wait_for_dependencies(desired, observed, facts, notes) {
        return next;
    }
    if observed.rolled_back_from.is_none() {
        observed.message = None;
    }
    observed.phase = if observed.prerequisites == Prerequisites::Networks { Phase::Pulling } else { Phase::Starting };
    started(desired, observed, facts.follow);
    let fetches = desired.refresh > observed.refreshed;
    let Some(current) = &mut observed.current else { return Next::Wait(None) };
    let volume = |mount: &hythe_spec::Mount| matches!(mount.source, MountSource::Volume { external: false, .. });
    let has_volumes = current.spec.component.mounts.iter().any(volume);
    let own_network = current.spec.component.network == Network::Service;
    let step = match observed.prerequisites {
        Prerequisites::Nothing if has_volumes => Step::MakeVolumes,
        Prerequisites::Nothing | Prerequisites::Volumes if facts.first_of_service && own_network => Step::MakeNetworks,
        Prerequisites::Nothing | Prerequisites::Volumes | Prerequisites::Ready if fetches => {
            observed.prerequisites = Prerequisites::Missing;
            Step::MakeNetworks
        }
        Prerequisites::Missing => Step::MakeNetworks,
        Prerequisites::Networks => Step::Pull,
        Prerequisites::Nothing | Prerequisites::Volumes | Prerequisites::Ready | Prerequisites::Complete => {
            current.create_attempted = true;
            // It reads what is there now.
            observed.reloaded = desired.reload;
            if observed.prerequisites != Prerequisites::Complete {
                observed.prerequisites = Prerequisites::Ready;
            }
            Step::Run
        }
    };
    Next::Do(step)
}

fn start(desired: &DesiredRecord, observed: &mut ObservedRecord, facts: &Facts<'_>, notes: &mut Vec<Note>) -> Next {
    if let Some(next) = wait_for_dependencies(desired, observed, facts, notes) {
        return next;
    }
    if observed.phase == Phase::Restarting {
        observed.restarts += 1;
    }
    observed.phase = Phase::Starting;
    if let Some(current) = &mut observed.current
        && facts.runs_once.contains(&current.runtime)
    {
        current.attempted_again = true;
        return Next::Do(Step::RemoveCurrent);
    }
    started(desired, observed, facts.follow);
    // Whoever dies now cannot know whether it was started.
    if let Some(current) = &mut observed.current {
        current.life = Life::Unknown;
        current.starting = true;
    }
    observed.reloaded = desired.reload;
    Next::Do(Step::Start)
}
