//! A step failed: the same again after a while, or the end of what it was for.

use hythe_runtime::{Error, ErrorKind};
use hythe_spec::vocabulary::EventKind;
use hythe_store::{Desired, DesiredRecord, Life, ObservedRecord, Phase, Prerequisites};
use serde_json::json;

use super::ahead::lacks;
use super::on_event::on_absent;
use super::on_exit::CRASH_LOOP;
use super::on_failure::{concerned, failure_of};
use super::record::{is_ahead, set_life};
use super::refresh::{is_refreshed, not_refreshed};
use super::reload;
use super::step::{Facts, Note, Step};
use crate::policy;

pub(super) fn on_error(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    step: Step,
    error: &Error,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) {
    match (step, error.kind()) {
        (Step::MakeVolumes | Step::MakeNetworks | Step::Pull, _) if is_ahead(observed) => {
            lacks(desired, observed, error, facts, notes);
        }
        // Something newer is desired: whatever the engine has done is looked at first.
        (Step::StopCurrent, ErrorKind::Cancelled) => set_life(observed, Life::Unknown),
        (_, ErrorKind::Cancelled) => {}
        (Step::Pull, _) if is_refreshed(desired, observed) => not_refreshed(desired, observed, error, notes),
        (Step::Run, ErrorKind::NotFound) if observed.prerequisites == Prerequisites::Ready => {
            observed.prerequisites = Prerequisites::Missing
        }
        (Step::Start | Step::Signal, ErrorKind::NotFound) => on_absent(desired, observed, facts, notes),
        // It has ended, which the engine reports, or it ends just now.
        (Step::Signal, ErrorKind::Conflict) => {
            set_life(observed, Life::Unknown);
            observed.next_try = Some(facts.now + policy::delay(1));
        }
        (Step::Signal, ErrorKind::Unsupported | ErrorKind::Invalid) => {
            reload::refused(desired, observed, error, notes);
        }
        _ if error.is_temporary() || !step.makes() => later(desired, observed, step, error, facts, notes),
        _ => {
            if matches!(step, Step::Run | Step::Start) {
                set_life(observed, Life::Unknown);
            }
            observed.failure_pending = Some(failure_of(concerned(desired, observed), error));
        }
    }
}

/// The same again after a while. What replaces another is not waited for that long: the other one comes back.
fn later(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    step: Step,
    error: &Error,
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) {
    observed.failures = observed.failures.saturating_add(1);
    let unreachable = error.kind() == ErrorKind::Unavailable && step != Step::Pull;
    if step.makes() && observed.previous.is_some() && observed.failures >= CRASH_LOOP && !unreachable {
        set_life(observed, Life::Unknown);
        observed.failure_pending = Some(failure_of(concerned(desired, observed), error));
        return;
    }
    if step == Step::Pull && observed.failures == 1 {
        let details = json!({ "logs": [], "exit": null, "generation": concerned(desired, observed) });
        notes.push(Note::new(EventKind::Failed, error.message(), details));
    }
    observed.next_try = Some(facts.now + policy::delay(observed.failures));
    observed.message = Some(error.message().to_owned());
    if observed.rolled_back_from.is_none() {
        observed.failure = Some(failure_of(concerned(desired, observed), error));
    }
    if matches!(step, Step::Run | Step::Start | Step::StopCurrent) {
        set_life(observed, Life::Unknown);
    }
    if step == Step::Pull {
        // It is the registry that cannot be had, whatever the engine does.
        observed.phase = Phase::Pending;
    } else if unreachable && desired.desired != Desired::Removed {
        observed.phase = Phase::Unknown;
    } else if desired.desired == Desired::Running && !matches!(observed.phase, Phase::Running | Phase::Failed) {
        observed.phase = Phase::Restarting;
    }
}
