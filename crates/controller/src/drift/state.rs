//! Whether it runs, under which name, of which generation, and whether there is one too many. Pure.

use hythe_runtime::{Listed, State};
use hythe_spec::vocabulary::DriftCause;
use hythe_store::{Desired, Phase};
use serde_json::json;

use crate::model::{Difference, WorkloadState, is_same};

fn difference(field: &str, desired: serde_json::Value, observed: serde_json::Value, cause: DriftCause) -> Difference {
    Difference { field: field.to_owned(), desired, observed, cause }
}

const fn is_running(workload: &WorkloadState) -> bool {
    matches!(workload.desired.desired, Desired::Running)
}

/// Its task is acting.
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
pub(super) fn absent(workload: &WorkloadState) -> Option<Difference> {
    if !is_running(workload) {
        return None;
    }
    let observed = &workload.observed;
    let first = observed.attempt <= 1 && observed.current.as_ref().is_none_or(|current| current.id.is_none());
    let cause = if first && is_acting(observed.phase) { DriftCause::Pending } else { DriftCause::Missing };
    Some(Difference::of_state("running", "absent", cause))
}

/// The engine does not answer.
pub(super) fn unreachable(workload: &WorkloadState, words: &str) -> Difference {
    let desired = if is_running(workload) { "running" } else { "stopped" };
    Difference::of_state(desired, words, DriftCause::Unreachable)
}

/// The instance is there in this state.
pub(super) fn state(workload: &WorkloadState, seen: State) -> Option<Difference> {
    let phase = workload.observed.phase;
    let unsettled = |cause| if is_acting(phase) { DriftCause::Pending } else { cause };
    let cause = match (is_running(workload), seen) {
        (true, State::Running) | (false, State::Exited | State::Created | State::Removing) => return None,
        // It has done what it was there for.
        (true, State::Exited) if phase == Phase::Completed => return None,
        (true, State::Paused) => DriftCause::Paused,
        (_, State::Unknown) => DriftCause::Unreachable,
        (true, State::Pending) => DriftCause::Pending,
        (true, State::Exited | State::Created | State::Stopping | State::Removing) => unsettled(DriftCause::Stopped),
        (false, State::Running | State::Paused | State::Pending | State::Stopping) => unsettled(DriftCause::Modified),
    };
    let desired = if is_running(workload) { "running" } else { "stopped" };
    Some(Difference::of_state(desired, word(seen), cause))
}

const fn word(state: State) -> &'static str {
    match state {
        State::Created => "created",
        State::Pending => "pending",
        State::Running => "running",
        State::Paused => "paused",
        State::Stopping => "stopping",
        State::Exited => "stopped",
        State::Removing => "removing",
        State::Unknown => "unknown",
    }
}

/// It has another name than it was created with.
pub(super) fn name(given: &str, seen: &str) -> Option<Difference> {
    (given != seen).then(|| difference("name", json!(given), json!(seen), DriftCause::Renamed))
}

/// It is of another generation than is desired.
pub(super) fn generation(workload: &WorkloadState) -> Option<Difference> {
    // What is stopped is made anew when it is started.
    if workload.desired.desired != Desired::Running {
        return None;
    }
    let (current, desired) = (workload.observed.current.as_ref()?.generation, workload.desired.generation);
    let cause =
        if workload.observed.rolled_back_from == Some(desired) { DriftCause::RolledBack } else { DriftCause::Pending };
    (current != desired).then(|| difference("generation", json!(desired), json!(current), cause))
}

/// Instances with this workload's labels that it does not refer to. While its task acts there may be several.
pub(super) fn unexpected_instances(workload: &WorkloadState, rows: &[Listed]) -> Vec<Difference> {
    let observed = &workload.observed;
    if is_acting(observed.phase) {
        return Vec::new();
    }
    let known = |row: &Listed| {
        let mut instances = observed.current.iter().chain(&observed.previous);
        instances.any(|instance| instance.name == row.name || is_same(instance, &row.id, Some(&row.name)))
    };
    let of_this = |row: &&Listed| row.identity.as_ref().is_some_and(|found| found.workload() == workload.desired.name);
    let unexpected = rows.iter().filter(of_this).filter(|row| !known(row));
    unexpected.map(|row| difference("instance", json!(null), json!(row.name), DriftCause::Unexpected)).collect()
}
