//! Which differences are healed, and the request to the task that heals them. The policy is in `lifecycle`.

use std::collections::BTreeMap;

use hythe_spec::vocabulary::DriftCause;

use crate::Controller;
use crate::message::Message;
use crate::model::{Difference, WorkloadState};

/// The differences that a new instance heals.
///
/// The rest is handled elsewhere: the restart policy starts what does not run, pruning removes stray instances, a deploy takes a moved
/// image. What the engine does not report is not acted on.
pub(super) fn healable(found: &[Difference]) -> Vec<Difference> {
    found.iter().filter(|difference| is_healable(difference)).cloned().collect()
}

fn is_healable(difference: &Difference) -> bool {
    match difference.cause {
        DriftCause::Paused | DriftCause::Renamed => true,
        DriftCause::Modified | DriftCause::Missing | DriftCause::Unexpected => {
            !["state", "instance"].contains(&difference.field.as_str())
        }
        DriftCause::ImageMoved
        | DriftCause::Stopped
        | DriftCause::RolledBack
        | DriftCause::Pending
        | DriftCause::Unreachable => false,
    }
}

/// The last request to heal, by workload: what a new instance did not heal is not tried again.
#[derive(Debug, Default)]
pub(super) struct Healing(BTreeMap<String, HealRequest>);

#[derive(Debug)]
struct HealRequest {
    instance: String,
    differences: Vec<Difference>,
}

impl Healing {
    /// The differences to heal now.
    pub(super) fn due(&mut self, state: &WorkloadState, found: &[Difference]) -> Vec<Difference> {
        let (workload, current) = (&state.desired.name, state.observed.current.as_ref());
        let due = healable(found);
        let Some(current) = current.filter(|current| state.desired.heal && !current.adopted && !due.is_empty()) else {
            self.0.remove(workload);
            return Vec::new();
        };
        let in_vain = |request: &HealRequest| {
            request.instance != current.name && due.iter().all(|one| request.differences.contains(one))
        };
        if self.0.get(workload).is_some_and(in_vain) {
            tracing::warn!(workload, fields = fields(&due), "a new instance has the same differences");
            return Vec::new();
        }
        let request = HealRequest { instance: current.name.clone(), differences: due.clone() };
        self.0.insert(workload.clone(), request);
        due
    }

    /// Drops workloads that are no longer known.
    pub(super) fn retain(&mut self, is_known: impl Fn(&str) -> bool) {
        self.0.retain(|workload, _| is_known(workload));
    }
}

/// Their fields, as text.
pub(super) fn fields(differences: &[Difference]) -> String {
    differences.iter().map(|difference| difference.field.as_str()).collect::<Vec<_>>().join(", ")
}

impl Controller {
    /// Asks the workload's task to replace an instance with these differences. The task decides whether it may.
    pub(super) fn heal(&self, workload: &str, differences: &[Difference]) {
        if let Some(handle) = self.registry.get(workload) {
            handle.send(Message::Drifted(fields(differences)));
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use hythe_spec::Component;
    use hythe_store::{ComponentSpec, Desired, DesiredRecord, InstanceRecord, ObservedRecord};
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn difference(field: &str, cause: DriftCause) -> Difference {
        Difference { field: field.to_owned(), desired: json!(1), observed: json!(2), cause }
    }

    #[test]
    fn only_what_a_new_instance_heals_is_requested() {
        let table = [
            ("memory", DriftCause::Modified, true),
            ("restart", DriftCause::Modified, true),
            ("image", DriftCause::Modified, true),
            ("env.MODE", DriftCause::Missing, true),
            ("networks.other", DriftCause::Unexpected, true),
            ("state", DriftCause::Paused, true),
            ("name", DriftCause::Renamed, true),
            ("image", DriftCause::ImageMoved, false),
            ("state", DriftCause::Missing, false),
            ("state", DriftCause::Stopped, false),
            ("state", DriftCause::Modified, false),
            ("instance", DriftCause::Unexpected, false),
            ("generation", DriftCause::Pending, false),
            ("generation", DriftCause::RolledBack, false),
            ("state", DriftCause::Unreachable, false),
        ];
        for (field, cause, expected) in table {
            assert_eq!(!healable(&[difference(field, cause)]).is_empty(), expected, "{field}: {cause:?}");
        }
    }

    fn state(attempt: u32) -> WorkloadState {
        let component = Component::new("shop", "localhost/shop:1".parse().unwrap());
        let spec = ComponentSpec { hash: "h".to_owned(), component, labels: BTreeMap::new() };
        let mut desired = DesiredRecord::new("shop", spec.clone(), 1, Desired::Running, "memory");
        desired.heal = true;
        let name = format!("shop-1-{attempt}");
        let current = InstanceRecord::found("memory", name, spec, 1, attempt);
        WorkloadState {
            desired,
            observed: ObservedRecord { current: Some(current), ..ObservedRecord::new(Timestamp::UNIX_EPOCH) },
        }
    }

    #[test]
    fn difference_that_a_new_instance_kept_is_retried_only_after_it_was_cleared() {
        let mut healing = Healing::default();
        let memory = [difference("memory", DriftCause::Modified)];
        let both = [memory[0].clone(), difference("env.MODE", DriftCause::Missing)];
        assert_eq!(healing.due(&state(1), &memory), memory);
        assert_eq!(healing.due(&state(1), &memory), memory, "the task may not have been able to");
        assert_eq!(healing.due(&state(2), &memory), []);
        assert_eq!(healing.due(&state(2), &both), both, "another difference");
        assert_eq!(healing.due(&state(3), &memory), []);
        assert_eq!(healing.due(&state(3), &[]), []);
        assert_eq!(healing.due(&state(3), &memory), memory, "changed once more");
    }

    #[test]
    fn report_policy_and_adopted_instance_are_not_healed() {
        let memory = [difference("memory", DriftCause::Modified)];
        let mut reported = state(1);
        reported.desired.heal = false;
        assert_eq!(Healing::default().due(&reported, &memory), []);
        let mut adopted = state(1);
        adopted.observed.current.as_mut().unwrap().adopted = true;
        assert_eq!(Healing::default().due(&adopted, &memory), []);
    }
}
