//! What probes say of the current instance.

use hythe_runtime::ErrorKind;
use hythe_spec::OnFailure;
use hythe_store::{Desired, DesiredRecord, Failure, HealthState, ObservedRecord};
use serde_json::json;

use super::Note;
use super::observe::calm;

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
    let on_failure = current.recipe.component.health.as_ref().map(|health| health.on_failure);
    let words = reason.unwrap_or_else(|| "healthy".to_owned());
    match state {
        HealthState::Healthy => {
            current.proven = true;
            observed.failures = 0;
            calm(observed);
            notes.push(Note::new("ready", words, json!({})));
        }
        HealthState::Unhealthy => {
            notes.push(Note::new("unhealthy", words.clone(), json!({ "reason": words })));
            observed.message = Some(words.clone());
            if !current.proven {
                let failure = Failure {
                    generation: current.generation,
                    kind: ErrorKind::Conflict.as_str().to_owned(),
                    message: format!("`{}` is not healthy: {words}", desired.name),
                    hint: None,
                    lines: Vec::new(),
                };
                observed.failing = Some(failure);
            } else if on_failure == Some(OnFailure::Restart) && desired.desired == Desired::Running {
                observed.kick = Some(words);
            }
        }
        HealthState::Starting | HealthState::None => {}
    }
}
