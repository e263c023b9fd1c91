//! A replacement begins with the prerequisites of the new instance: they are all met, and its dependencies ready, before the running instance is touched.
//! That one is supervised as usual meanwhile.

use hythe_runtime::{Error, ErrorKind};
use hythe_spec::vocabulary::EventKind;
use hythe_spec::{Component, MountSource, Network};
use hythe_store::{Ahead, DesiredRecord, Failure, InstanceRecord, Life, ObservedRecord, Phase, Prerequisites};
use jiff::Timestamp;
use serde_json::json;

use super::on_failure::failure_of;
use super::record::{is_replaced, is_wanted, may_run, rolled_back};
use super::step::{DependencyGate, Facts, Note, Step};
use crate::policy;

/// How far a replacement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// There is nothing that would be replaced and is worth keeping until then.
    Straight,
    /// The next instance lacks nothing.
    Ready,
    /// This step first.
    Do(Step),
    /// The current instance goes on, until this time or until something is heard of.
    Waits(Option<Timestamp>),
}

/// Sees to what the next instance needs, one step at a time.
pub(super) fn prepare(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) -> Course {
    if !is_replaced(desired, observed) {
        if observed.rolled_back_from != Some(desired.generation) {
            observed.ahead = None;
        }
        return Course::Straight;
    }
    if observed.current.as_ref().is_some_and(|current| current.life == Life::Unknown) {
        return Course::Do(Step::Inspect);
    }
    let fresh = Ahead { generation: desired.generation, ..Ahead::default() };
    let known = observed.ahead.take().filter(|ahead| ahead.generation == desired.generation);
    let mut ahead = known.unwrap_or(fresh);
    if let DependencyGate::Closed(reason) = &facts.gate {
        if observed.replace_requested.is_some() {
            // Nobody deployed anything: what is to be made anew goes on as it is.
            set_message(desired, observed, reason);
            observed.ahead = Some(ahead);
            return Course::Waits(None);
        }
        give_up(desired, observed, dependency_failure(desired.generation, reason), notes);
        observed.blocked = true;
        return Course::Straight;
    }
    ahead.next_try = ahead.next_try.filter(|at| *at > facts.now);
    let course = match (ahead.next_try, missing(desired, ahead.prerequisites), &facts.gate) {
        (Some(at), ..) => Course::Waits(Some(at)),
        (None, Some(Step::Pull), _) if facts.fetching => Course::Waits(None),
        (None, Some(step), _) => match facts.down.iter().find(|(name, _)| *name == desired.placement.runtime) {
            Some((_, reason)) => {
                set_message(desired, observed, reason);
                Course::Waits(None)
            }
            None => Course::Do(step),
        },
        (None, None, DependencyGate::Waiting(name)) => {
            set_message(desired, observed, &format!("waits for `{name}`"));
            Course::Waits(None)
        }
        (None, None, _) => Course::Ready,
    };
    observed.ahead = Some(ahead);
    course
}

/// While it runs, its message says what the next instance waits for.
fn set_message(desired: &DesiredRecord, observed: &mut ObservedRecord, reason: &str) {
    if observed.phase == Phase::Running {
        observed.message = Some(format!("generation {}: {reason}", desired.generation));
    }
}

/// The step that gets what is still missing.
fn missing(desired: &DesiredRecord, prerequisites: Prerequisites) -> Option<Step> {
    let component = &desired.spec.component;
    let step = match prerequisites {
        Prerequisites::Nothing if needs_volumes(component) => Step::MakeVolumes,
        Prerequisites::Nothing | Prerequisites::Volumes
            if !matches!(component.network, Network::None | Network::Host) =>
        {
            Step::MakeNetworks
        }
        Prerequisites::Nothing
        | Prerequisites::Volumes
        | Prerequisites::Ready
        | Prerequisites::Missing
        | Prerequisites::Networks => Step::Pull,
        Prerequisites::Complete => return None,
    };
    Some(step)
}

fn needs_volumes(component: &Component) -> bool {
    let all = component.mounts.iter().chain(&component.permissions.mounts);
    all.into_iter().any(|mount| matches!(mount.source, MountSource::Volume { .. }))
}

/// A step for the next instance is done.
pub(super) fn advance(ahead: &mut Ahead, step: Step) {
    ahead.failures = 0;
    ahead.prerequisites = match step {
        Step::MakeVolumes => Prerequisites::Volumes,
        Step::MakeNetworks => Prerequisites::Networks,
        _ => Prerequisites::Complete,
    };
}

/// A prerequisite of the next instance failed. A temporary failure is retried after its back-off, and reported once.
pub(super) fn lacks(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    error: &Error,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) {
    // What was wanted meanwhile is another generation, about which this says nothing.
    let Some(mut ahead) = observed.ahead.take().filter(|ahead| ahead.generation == desired.generation) else { return };
    if error.kind() == ErrorKind::Cancelled {
        observed.ahead = Some(ahead);
        return;
    }
    let failure = failure_of(ahead.generation, error);
    let reported = ahead.failures > 0;
    let replace_requested = observed.replace_requested.clone();
    let mut dropped = Vec::new();
    give_up(desired, observed, failure, if reported { &mut dropped } else { notes });
    if error.is_temporary() {
        ahead.failures = ahead.failures.saturating_add(1);
        ahead.next_try = Some(facts.now + policy::delay(ahead.failures));
        observed.ahead = Some(ahead);
        observed.replace_requested = replace_requested;
    }
}

/// The generation fails before anything was done for it that shows.
pub(super) fn give_up(desired: &DesiredRecord, observed: &mut ObservedRecord, failure: Failure, notes: &mut Vec<Note>) {
    let to = observed.current.as_ref().map_or(0, |current| current.generation);
    let details = json!({ "logs": failure.lines, "exit": null, "generation": failure.generation });
    notes.push(Note::new(EventKind::Failed, failure.message.clone(), details.clone()));
    let message = rolled_back(&failure, to);
    notes.push(Note::new(EventKind::RolledBack, message.clone(), json!({ "generation": to, "logs": failure.lines })));
    observed.ahead = None;
    observed.replace_requested = None;
    observed.rolled_back_from = Some(desired.generation);
    observed.message = Some(message);
    observed.failure = Some(failure);
}

/// The failure of what its dependency keeps from starting.
pub(super) fn dependency_failure(generation: u64, reason: &str) -> Failure {
    Failure {
        generation,
        kind: ErrorKind::Conflict.as_str().to_owned(),
        message: reason.to_owned(),
        hint: None,
        lines: Vec::new(),
    }
}

/// Retries a generation that failed because of a missing prerequisite or dependency, once that may be there.
pub(super) fn try_again(desired: &DesiredRecord, observed: &mut ObservedRecord, facts: &Facts<'_>) {
    let opened = observed.blocked && facts.gate == DependencyGate::Open;
    let rolled_back = observed.rolled_back_from == Some(desired.generation);
    let due = observed.ahead.as_ref().and_then(|ahead| ahead.next_try).is_some_and(|at| at <= facts.now);
    if !(opened || rolled_back && due) {
        return;
    }
    observed.blocked = false;
    if rolled_back {
        observed.rolled_back_from = None;
    } else if observed.phase == Phase::Failed {
        observed.phase = Phase::Pending;
        observed.message = None;
        observed.failure = None;
    }
}

/// Of a replacement that another one overtakes, what it was to replace is there again. The steps until then.
pub(super) fn give_back(desired: &DesiredRecord, observed: &mut ObservedRecord) -> Option<Step> {
    observed.previous.as_ref()?;
    if let Some(current) = &observed.current {
        if is_wanted(current, desired, observed) || is_replaced(desired, observed) {
            return None;
        }
        if may_run(current) {
            return Some(Step::StopCurrent);
        }
        if current.life != Life::Pending {
            return Some(Step::RemoveCurrent);
        }
    }
    observed.current = observed.previous.take().map(InstanceRecord::to_be_seen);
    observed.phase = Phase::Starting;
    observed.health = hythe_store::HealthState::None;
    None
}
