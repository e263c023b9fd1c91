//! Questions about a record, and the small changes of it that several modules here make.

use hythe_runtime::identity;
use hythe_spec::vocabulary::EventKind;
use hythe_store::{DesiredRecord, Failure, HealthState, InstanceRecord, Life, ObservedRecord, Phase, Prerequisites};
use serde_json::json;

use super::step::{Note, Step};

/// Whether the current instance is the one to have; after a rollback that is the old one.
pub(crate) fn is_wanted(current: &InstanceRecord, desired: &DesiredRecord, observed: &ObservedRecord) -> bool {
    observed.rolled_back_from == Some(desired.generation)
        || (observed.replace_requested.is_none()
            && current.generation == desired.generation
            && current.spec.hash == desired.spec.hash
            && current.runtime == desired.placement.runtime)
}

/// Whether the current instance is one to keep until another takes over.
pub(crate) fn is_replaced(desired: &DesiredRecord, observed: &ObservedRecord) -> bool {
    observed.current.as_ref().is_some_and(|current| {
        let failed = observed.phase == Phase::Failed && !matches!(current.life, Life::Running | Life::Paused);
        let made = current.life != Life::Pending || current.attempted_again;
        !is_wanted(current, desired, observed) && current.ready_once && made && !failed
    })
}

/// Whether steps that make things are for the next instance, not for the current one: as long as the next one is not given up.
pub(crate) fn is_ahead(observed: &ObservedRecord) -> bool {
    observed.ahead.as_ref().is_some_and(|ahead| observed.rolled_back_from != Some(ahead.generation))
}

/// Whether it is as desired, or as it can be, so that no dependency matters to it.
pub(crate) fn is_settled(desired: &DesiredRecord, observed: &ObservedRecord) -> bool {
    let wanted = observed.current.as_ref().is_some_and(|current| is_wanted(current, desired, observed));
    match observed.phase {
        // Of what was just asked for nothing is settled.
        _ if observed.blocked || observed.requests_seen < desired.requests => false,
        Phase::Running | Phase::Paused | Phase::Completed | Phase::Failed => wanted,
        _ => false,
    }
}

/// Whether the desired generation was never ready, or failed because of a dependency.
pub(crate) fn is_new(desired: &DesiredRecord, observed: &ObservedRecord) -> bool {
    let proved = |current: &InstanceRecord| current.ready_once && is_wanted(current, desired, observed);
    observed.blocked || !observed.current.as_ref().is_some_and(proved)
}

pub(crate) fn may_run(instance: &InstanceRecord) -> bool {
    match instance.life {
        Life::Running | Life::Paused | Life::Unknown => true,
        Life::Pending => instance.create_attempted,
        Life::Exited | Life::Succeeded => false,
    }
}

/// The steps that make the current instance go; `None` once it has gone.
pub(crate) fn discard_current(observed: &mut ObservedRecord) -> Option<Step> {
    let current = observed.current.as_ref()?;
    if may_run(current) {
        return Some(Step::StopCurrent);
    }
    if current.life == Life::Pending {
        observed.current = None;
        return None;
    }
    Some(Step::RemoveCurrent)
}

/// The attempt that takes the place of one that ended, where its runtime starts no instance twice. What is known to be good of the one is of the other.
pub(crate) fn attempt_again(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    ended: &InstanceRecord,
) -> InstanceRecord {
    let newest = ended.generation == observed.generation;
    let attempt = if newest { observed.attempt.max(ended.attempt) } else { ended.attempt } + 1;
    if newest {
        observed.attempt = attempt;
    }
    // What another one needs is being seen to: what this one needs was there.
    observed.prerequisites = if is_ahead(observed) { Prerequisites::Complete } else { Prerequisites::Nothing };
    let name = identity::instance_name(&desired.name, ended.generation, attempt);
    let pending = InstanceRecord::pending(&ended.runtime, name, ended.spec.clone(), ended.generation, attempt);
    InstanceRecord { ready_once: ended.ready_once, attempted_again: true, ..pending }
}

pub(crate) fn retire_previous(observed: &ObservedRecord) -> Option<Step> {
    let previous = observed.previous.as_ref()?;
    Some(if may_run(previous) { Step::StopPrevious } else { Step::RemovePrevious })
}

/// What was replaced comes back in place of what failed.
pub(crate) fn roll_back(observed: &mut ObservedRecord, notes: &mut Vec<Note>) {
    let Some(failure) = observed.rollback.take() else { return };
    observed.health = HealthState::None;
    observed.failures = 0;
    observed.prerequisites = Prerequisites::Nothing;
    observed.replace_requested = None;
    match observed.previous.take() {
        Some(previous) => {
            let message = rolled_back(&failure, previous.generation);
            let details = json!({ "generation": previous.generation, "logs": failure.lines, "exit": observed.exit });
            notes.push(Note::new(EventKind::RolledBack, message.clone(), details));
            observed.rolled_back_from = Some(failure.generation);
            observed.message = Some(message);
            observed.phase = if previous.life == Life::Succeeded { Phase::Completed } else { Phase::Pending };
            observed.current = Some(previous.to_be_seen());
        }
        None => observed.phase = Phase::Failed,
    }
    observed.failure = Some(failure);
}

/// A rollback in words.
pub(crate) fn rolled_back(failure: &Failure, to: u64) -> String {
    let words = failure.message.lines().next().unwrap_or_default();
    format!("generation {} failed, rolled back to {to}: {words}", failure.generation)
}

/// That it was rolled back stays the news while what runs is well.
pub(crate) fn clear_error(observed: &mut ObservedRecord) {
    let kept = observed.failure.take().filter(|_| observed.rolled_back_from.is_some());
    let to = observed.current.as_ref().map_or(0, |current| current.generation);
    observed.message = kept.as_ref().map(|failure| rolled_back(failure, to));
    observed.failure = kept;
}

pub(crate) fn set_life(observed: &mut ObservedRecord, life: Life) {
    if let Some(current) = &mut observed.current {
        current.life = life;
    }
}
