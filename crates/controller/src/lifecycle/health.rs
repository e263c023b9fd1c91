//! What probes say of the current instance.

use hythe_runtime::ErrorKind;
use hythe_spec::OnFailure;
use hythe_spec::vocabulary::EventKind;
use hythe_store::{Desired, DesiredRecord, Failure, HealthState, ImageCheck, ObservedRecord};
use serde_json::json;

use super::record::clear_error;
use super::step::Note;

/// Its image was asked for a check.
pub(super) fn image_check(observed: &mut ObservedRecord, check: ImageCheck, notes: &mut Vec<Note>) {
    let Some(current) = observed.current.as_mut().filter(|current| current.asks_image()) else { return };
    if let ImageCheck::Unfit(reason) = &check {
        let words = format!("no health check of its image is used: {reason}");
        notes.push(Note::new(
            EventKind::Warning,
            words,
            json!({ "image": current.spec.component.image, "reason": reason }),
        ));
    }
    current.image_check = Some(check);
}

/// Its probes changed their mind.
pub(super) fn health(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    state: HealthState,
    reason: Option<String>,
    notes: &mut Vec<Note>,
) {
    if observed.health == state {
        return;
    }
    observed.health = state;
    let Some(current) = &mut observed.current else { return };
    let on_failure = current.health().map(|health| health.on_failure);
    let words = reason.unwrap_or_else(|| "healthy".to_owned());
    match state {
        HealthState::Healthy => {
            current.ready_once = true;
            observed.failures = 0;
            clear_error(observed);
            notes.push(Note::new(EventKind::Ready, words, json!({})));
        }
        HealthState::Unhealthy => {
            notes.push(Note::new(EventKind::Unhealthy, words.clone(), json!({ "reason": words })));
            observed.message = Some(words.clone());
            if !current.ready_once {
                let failure = Failure {
                    generation: current.generation,
                    kind: ErrorKind::Conflict.as_str().to_owned(),
                    message: format!("`{}` is not healthy: {words}", desired.name),
                    hint: None,
                    lines: Vec::new(),
                };
                observed.failure_pending = Some(failure);
            } else if on_failure == Some(OnFailure::Restart) && desired.desired == Desired::Running {
                observed.restart_requested = Some(words);
            }
        }
        HealthState::Starting | HealthState::None => {}
    }
}
