//! Mounted files that have changed and are read again by the process that runs, on a signal. What is started reads them anyway.
//!
//! The signal is sent at least once: the request stays due until the record says that it was carried out.

use hythe_runtime::Error;
use hythe_spec::ConfigChange;
use hythe_spec::vocabulary::EventKind;
use hythe_store::{DesiredRecord, ObservedRecord, SentSignal};
use serde_json::json;

use super::record::{clear_error, is_replaced};
use super::step::{Note, Reload};

/// Whether the process that runs is to be sent a signal. One that was rolled back to has its own way with files.
pub(super) fn is_due(desired: &DesiredRecord, observed: &ObservedRecord) -> bool {
    let has_signal = matches!(desired.spec.component.on_config_change, ConfigChange::Signal(_));
    let is_its_own = !is_replaced(desired, observed) && observed.rolled_back_from != Some(desired.generation);
    desired.reload > observed.reloaded && has_signal && is_its_own
}

/// It was sent: the instance is one with the files of now.
pub(super) fn sent(observed: &mut ObservedRecord, reload: Reload, notes: &mut Vec<Note>) {
    let Reload { request, signal, files, at } = reload;
    observed.reloaded = observed.reloaded.max(request);
    clear_error(observed);
    let Some(current) = &mut observed.current else { return };
    current.spec.component.file_digests = files;
    current.sent = Some(SentSignal { signal: signal.0, at });
    let words = format!("was sent {signal}: mounted files have changed");
    notes.push(Note::new(EventKind::Reload, words, json!({ "instance": current.name, "signal": signal.to_string() })));
}

/// The instance does not see the file: one that is made now does.
pub(super) fn unseen(desired: &DesiredRecord, observed: &mut ObservedRecord, path: &str, notes: &mut Vec<Note>) {
    let words = format!("`{path}` is another file than the one that the instance has mounted");
    replace(desired, observed, words, notes);
}

/// The runtime cannot send it, now or later.
pub(super) fn refused(desired: &DesiredRecord, observed: &mut ObservedRecord, error: &Error, notes: &mut Vec<Note>) {
    replace(desired, observed, format!("a signal cannot be sent: {}", error.message()), notes);
}

fn replace(desired: &DesiredRecord, observed: &mut ObservedRecord, reason: String, notes: &mut Vec<Note>) {
    observed.reloaded = desired.reload;
    let details = json!({ "reason": reason });
    notes.push(Note::new(EventKind::Reload, format!("is replaced, a signal is not enough: {reason}"), details));
    observed.replace_requested = Some(reason);
}
