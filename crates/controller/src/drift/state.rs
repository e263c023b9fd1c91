//! Whether it runs, under which name, of which generation, and whether there is one too many. Pure.

use hythe_runtime::{Listed, State};
use hythe_store::{Desired, Phase};
use serde_json::json;

use super::{Cause, Difference};
use crate::directory::Cell;
use crate::worker::is_same;

fn difference(field: &str, desired: serde_json::Value, observed: serde_json::Value, cause: Cause) -> Difference {
    Difference { field: field.to_owned(), desired, observed, cause }
}

const fn is_running(cell: &Cell) -> bool {
    matches!(cell.desired.desired, Desired::Running)
}

/// Its task is in the middle of something.
const fn is_acting(phase: Phase) -> bool {
    match phase {
        Phase::Pending | Phase::Pulling | Phase::Starting | Phase::Stopping | Phase::Removing => true,
        Phase::Running
        | Phase::Paused
        | Phase::Stopped
        | Phase::Completed
        | Phase::Restarting
        | Phase::Failed
        | Phase::Unknown => false,
    }
}

/// There is no instance.
pub(super) fn absent(cell: &Cell) -> Option<Difference> {
    if !is_running(cell) {
        return None;
    }
    let observed = &cell.observed;
    let first = observed.attempt <= 1 && observed.current.as_ref().is_none_or(|current| current.id.is_none());
    let cause = if first && is_acting(observed.phase) { Cause::NotYet } else { Cause::Missing };
    Some(Difference::of_state("running", "absent", cause))
}

/// The engine does not say.
pub(super) fn unreachable(cell: &Cell, words: &str) -> Difference {
    let desired = if is_running(cell) { "running" } else { "stopped" };
    Difference::of_state(desired, words, Cause::Unreachable)
}

/// The instance is there in this state.
pub(super) fn state(cell: &Cell, seen: State) -> Option<Difference> {
    let phase = cell.observed.phase;
    let unsettled = |cause| if is_acting(phase) { Cause::NotYet } else { cause };
    let cause = match (is_running(cell), seen) {
        (true, State::Running) | (false, State::Exited | State::Created | State::Removing) => return None,
        // It has done what it was there for.
        (true, State::Exited) if phase == Phase::Completed => return None,
        (true, State::Paused) => Cause::Paused,
        (_, State::Unknown) => Cause::Unreachable,
        (true, State::Exited | State::Created | State::Stopping | State::Removing) => unsettled(Cause::Stopped),
        (false, State::Running | State::Paused | State::Stopping) => unsettled(Cause::ChangedByHand),
    };
    let desired = if is_running(cell) { "running" } else { "stopped" };
    Some(Difference::of_state(desired, word(seen), cause))
}

const fn word(state: State) -> &'static str {
    match state {
        State::Created => "created",
        State::Running => "running",
        State::Paused => "paused",
        State::Stopping => "stopping",
        State::Exited => "stopped",
        State::Removing => "removing",
        State::Unknown => "unknown",
    }
}

/// It bears another name than it was given.
pub(super) fn name(given: &str, seen: &str) -> Option<Difference> {
    (given != seen).then(|| difference("name", json!(given), json!(seen), Cause::Renamed))
}

/// It is of another generation than is desired.
pub(super) fn generation(cell: &Cell) -> Option<Difference> {
    // What is stopped is made anew when it is started.
    if cell.desired.desired != Desired::Running {
        return None;
    }
    let (current, desired) = (cell.observed.current.as_ref()?.generation, cell.desired.generation);
    let cause = if cell.observed.gave_up == Some(desired) { Cause::RolledBack } else { Cause::NotYet };
    (current != desired).then(|| difference("generation", json!(desired), json!(current), cause))
}

/// Instances that carry this workload's labels and are not its own. In the middle of something there may be several.
pub(super) fn extras(cell: &Cell, rows: &[Listed]) -> Vec<Difference> {
    let observed = &cell.observed;
    if is_acting(observed.phase) {
        return Vec::new();
    }
    let known = |row: &Listed| {
        let mut instances = observed.current.iter().chain(&observed.previous);
        instances.any(|instance| instance.name == row.name || is_same(instance, &row.id, Some(&row.name)))
    };
    let of_this = |row: &&Listed| row.identity.as_ref().is_some_and(|found| found.workload() == cell.desired.name);
    let extra = rows.iter().filter(of_this).filter(|row| !known(row));
    extra.map(|row| difference("instance", json!(null), json!(row.name), Cause::Extra)).collect()
}
