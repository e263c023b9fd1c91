//! What follows a failure for good: back to what was replaced, or nothing more until somebody asks.

use hythe_runtime::Error;
use hythe_spec::OnFailure;
use hythe_spec::vocabulary::EventKind;
use hythe_store::{DesiredRecord, Failure, HealthState, Life, ObservedRecord, Phase};
use serde_json::json;

use super::step::Note;

/// A failure in the words of an error.
pub(crate) fn failure_of(generation: u64, error: &Error) -> Failure {
    Failure {
        generation,
        kind: error.kind().as_str().to_owned(),
        message: error.message().to_owned(),
        hint: error.next_step().map(str::to_owned),
        lines: Vec::new(),
    }
}

/// The generation whose instance it is about.
pub(super) fn concerned(desired: &DesiredRecord, observed: &ObservedRecord) -> u64 {
    observed.current.as_ref().map_or(desired.generation, |current| current.generation)
}

/// The current attempt failed for good.
pub(super) fn on_failure(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    failure: Failure,
    notes: &mut Vec<Note>,
) {
    observed.next_try = None;
    observed.restart_requested = None;
    let details = json!({ "logs": failure.lines, "exit": observed.exit, "generation": failure.generation });
    notes.push(Note::new(EventKind::Failed, failure.message.clone(), details));
    observed.message = Some(failure.message.clone());
    observed.failure = Some(failure.clone());
    if observed.previous.is_some() {
        observed.phase = Phase::Stopping;
        observed.rollback = Some(failure);
        return;
    }
    let runs = observed.current.as_ref().is_some_and(|current| current.life == Life::Running);
    if !runs {
        observed.phase = Phase::Failed;
        observed.health = HealthState::None;
        return;
    }
    let health = desired.spec.component.health.as_ref();
    if health.is_some_and(|health| health.on_failure == OnFailure::Restart) {
        observed.restart_requested = Some(failure.message);
    }
}
