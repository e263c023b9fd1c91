//! Which differences are undone, and the hand-over to the task that undoes them. The policy itself is the machine's (see `lifecycle`).

use std::collections::BTreeMap;

use super::{Cause, Difference};
use crate::Controller;
use crate::directory::Cell;
use crate::worker::Message;

/// The differences that a new instance mends.
///
/// The rest is somebody else's: what does not run is the restart policy's, what is one too many the sweep's, another image under
/// the old name comes with a deploy, and what the engine does not say is not acted on.
pub(super) fn mendable(found: &[Difference]) -> Vec<Difference> {
    found.iter().filter(|difference| is_mendable(difference)).cloned().collect()
}

fn is_mendable(difference: &Difference) -> bool {
    match difference.cause {
        Cause::Paused | Cause::Renamed => true,
        Cause::ChangedByHand | Cause::Missing | Cause::Extra => {
            !["state", "instance"].contains(&difference.field.as_str())
        }
        Cause::ImageMoved | Cause::Stopped | Cause::RolledBack | Cause::NotYet | Cause::Unreachable => false,
    }
}

/// What was handed over last, by workload: what a new instance did not mend is not tried again and again.
#[derive(Debug, Default)]
pub(super) struct Healing(BTreeMap<String, Handed>);

#[derive(Debug)]
struct Handed {
    instance: String,
    differences: Vec<Difference>,
}

impl Healing {
    /// What of this there is to hand over now.
    pub(super) fn due(&mut self, cell: &Cell, found: &[Difference]) -> Vec<Difference> {
        let (workload, current) = (&cell.desired.name, cell.observed.current.as_ref());
        let due = mendable(found);
        let Some(current) = current.filter(|current| cell.desired.heal && !current.adopted && !due.is_empty()) else {
            self.0.remove(workload);
            return Vec::new();
        };
        let in_vain =
            |handed: &Handed| handed.instance != current.name && due.iter().all(|one| handed.differences.contains(one));
        if self.0.get(workload).is_some_and(in_vain) {
            tracing::warn!(workload, fields = fields(&due), "a new instance differs in the same");
            return Vec::new();
        }
        let handed = Handed { instance: current.name.clone(), differences: due.clone() };
        self.0.insert(workload.clone(), handed);
        due
    }

    /// Those that are no longer known are forgotten.
    pub(super) fn retain(&mut self, is_known: impl Fn(&str) -> bool) {
        self.0.retain(|workload, _| is_known(workload));
    }
}

/// Their fields, for people.
pub(super) fn fields(differences: &[Difference]) -> String {
    differences.iter().map(|difference| difference.field.as_str()).collect::<Vec<_>>().join(", ")
}

impl Controller {
    /// Has the workload's task replace an instance that differs in this; the task knows whether it may.
    pub(super) fn heal(&self, workload: &str, differences: &[Difference]) {
        if let Some(handle) = self.directory.get(workload) {
            handle.send(Message::Drifted(fields(differences)));
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use hythe_spec::Component;
    use hythe_store::{Desired, DesiredRecord, InstanceRecord, ObservedRecord, Recipe};
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn difference(field: &str, cause: Cause) -> Difference {
        Difference { field: field.to_owned(), desired: json!(1), observed: json!(2), cause }
    }

    #[test]
    fn only_what_a_new_instance_mends_is_handed_over() {
        let table = [
            ("memory", Cause::ChangedByHand, true),
            ("restart", Cause::ChangedByHand, true),
            ("image", Cause::ChangedByHand, true),
            ("env.MODE", Cause::Missing, true),
            ("networks.other", Cause::Extra, true),
            ("state", Cause::Paused, true),
            ("name", Cause::Renamed, true),
            ("image", Cause::ImageMoved, false),
            ("state", Cause::Missing, false),
            ("state", Cause::Stopped, false),
            ("state", Cause::ChangedByHand, false),
            ("instance", Cause::Extra, false),
            ("generation", Cause::NotYet, false),
            ("generation", Cause::RolledBack, false),
            ("state", Cause::Unreachable, false),
        ];
        for (field, cause, expected) in table {
            assert_eq!(!mendable(&[difference(field, cause)]).is_empty(), expected, "{field}: {cause:?}");
        }
    }

    fn cell(attempt: u32) -> Cell {
        let component = Component::new("shop", "localhost/shop:1".parse().unwrap());
        let recipe = Recipe { hash: "h".to_owned(), component, labels: BTreeMap::new() };
        let mut desired = DesiredRecord::new("shop", recipe.clone(), 1, Desired::Running, "memory");
        desired.heal = true;
        let name = format!("shop-1-{attempt}");
        let current = InstanceRecord::found("memory", name, recipe, 1, attempt);
        Cell {
            desired,
            observed: ObservedRecord { current: Some(current), ..ObservedRecord::new(Timestamp::UNIX_EPOCH) },
        }
    }

    #[test]
    fn what_a_new_instance_did_not_mend_is_not_tried_again_unless_it_was_gone_meanwhile() {
        let mut healing = Healing::default();
        let memory = [difference("memory", Cause::ChangedByHand)];
        let both = [memory[0].clone(), difference("env.MODE", Cause::Missing)];
        assert_eq!(healing.due(&cell(1), &memory), memory);
        assert_eq!(healing.due(&cell(1), &memory), memory, "the task may not have been able to");
        assert_eq!(healing.due(&cell(2), &memory), []);
        assert_eq!(healing.due(&cell(2), &both), both, "another difference");
        assert_eq!(healing.due(&cell(3), &memory), []);
        assert_eq!(healing.due(&cell(3), &[]), []);
        assert_eq!(healing.due(&cell(3), &memory), memory, "changed once more");
    }

    #[test]
    fn without_the_policy_and_of_what_was_adopted_nothing_is_undone() {
        let memory = [difference("memory", Cause::ChangedByHand)];
        let mut reported = cell(1);
        reported.desired.heal = false;
        assert_eq!(Healing::default().due(&reported, &memory), []);
        let mut adopted = cell(1);
        adopted.observed.current.as_mut().unwrap().adopted = true;
        assert_eq!(Healing::default().due(&adopted, &memory), []);
    }
}
