//! An image that is fetched again while its instance runs on. Another image than the running one's makes another
//! generation, which replaces it as any other;
//! a registry that does not answer fails the deploy and nothing else.

use hythe_runtime::Error;
use hythe_spec::vocabulary::EventKind;
use hythe_store::{DesiredRecord, Life, ObservedRecord};
use serde_json::json;

use super::on_failure::failure_of;
use super::record::{is_ahead, is_replaced};
use super::step::Note;

/// Whether a step that fetches is for the image of an instance that is there.
pub(crate) fn is_refreshed(desired: &DesiredRecord, observed: &ObservedRecord) -> bool {
    let there = observed.current.as_ref().is_some_and(|current| current.life != Life::Pending);
    desired.refresh > observed.refreshed && there && !is_ahead(observed)
}

/// Whether it is to be fetched now: what is replaced anyway has it fetched for the next instance.
pub(super) fn is_due(desired: &DesiredRecord, observed: &ObservedRecord) -> bool {
    is_refreshed(desired, observed)
        && !is_replaced(desired, observed)
        && observed.rolled_back_from != Some(desired.generation)
}

/// The pull failed: the request fails, the instance runs on.
pub(super) fn not_refreshed(
    desired: &DesiredRecord,
    observed: &mut ObservedRecord,
    error: &Error,
    notes: &mut Vec<Note>,
) {
    let failure = failure_of(desired.generation, error);
    let words = format!("its image could not be fetched again: {}", failure.message);
    notes.push(Note::new(EventKind::Warning, words, json!({ "generation": desired.generation })));
    observed.refreshed = desired.refresh;
    observed.refresh_failure = Some(failure);
}
