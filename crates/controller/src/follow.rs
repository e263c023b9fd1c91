//! Which workloads are restarted after a request that restarts or replaces others.

use std::collections::BTreeSet;

use hythe_spec::vocabulary::EventKind;
use hythe_store::{Desired, DesiredRecord, NewEvent, Phase};
use serde_json::json;

use crate::Controller;
use crate::event::workload_event;
use crate::registry::WorkloadHandle;
use crate::waves::dependents_first;

impl Controller {
    /// What is restarted after those of the handles that start anew, with the event of each. What is asked for itself
    /// needs no restart of its own, and a job that is done is not done again.
    pub(crate) fn followers(
        &self,
        service: &str,
        handles: &[WorkloadHandle],
        starts_anew: impl Fn(&DesiredRecord) -> bool,
    ) -> (Vec<DesiredRecord>, Vec<NewEvent>) {
        let asked: Vec<DesiredRecord> = handles.iter().map(|handle| handle.read().desired).collect();
        let changed = asked.iter().filter(|desired| starts_anew(desired));
        let changed = changed.map(|desired| desired.spec.component.name.clone()).collect();
        let others = self.registry.of_service(service).into_iter().map(|handle| handle.read());
        let mut others: Vec<DesiredRecord> = others
            .filter(|state| state.observed.phase != Phase::Completed)
            .filter(|state| asked.iter().all(|desired| desired.name != state.desired.name))
            .map(|state| DesiredRecord { requests: state.desired.requests + 1, ..state.desired })
            .collect();
        let followers = note(changed, others.iter_mut().collect());
        others.retain(|other| followers.contains(&other.spec.component.name));
        let others = dependencies_first(others);
        let now = self.now();
        let event = |desired: &DesiredRecord| {
            let details = json!({ "request": "restart" });
            workload_event(now, desired, EventKind::Requested, "restart requested, after its dependency", details)
        };
        let events = others.iter().map(event).collect();
        (others, events)
    }
}

/// Dependencies first: what follows one that follows sees that it does.
pub(crate) fn dependencies_first(followers: Vec<DesiredRecord>) -> Vec<DesiredRecord> {
    let name = |record: &DesiredRecord| record.spec.component.name.clone();
    let needs = |record: &DesiredRecord| record.spec.component.depends_on.keys().cloned().collect();
    dependents_first(followers, name, needs).into_iter().rev().flatten().collect()
}

/// Notes in the records of one service what is restarted after the changed components, and after those in turn; gives
/// their names.
///
/// One more is counted for each dependency that is changed, so that a restart follows once from each request.
pub(crate) fn note(changed: BTreeSet<String>, records: Vec<&mut DesiredRecord>) -> BTreeSet<String> {
    let (mut changed, mut noted, mut records) = (changed, BTreeSet::new(), records);
    let mut found = BTreeSet::new();
    loop {
        let before = noted.len();
        for record in records.iter_mut().filter(|record| record.desired == Desired::Running) {
            let name = record.spec.component.name.clone();
            let follows = record.spec.component.depends_on.iter().filter(|(_, dependency)| dependency.restart);
            let after: Vec<String> = follows.map(|(on, _)| on.clone()).filter(|on| changed.contains(on)).collect();
            for on in after {
                if noted.insert((name.clone(), on.clone())) {
                    *record.follow.entry(on).or_default() += 1;
                    found.insert(name.clone());
                }
            }
        }
        changed.extend(found.iter().cloned());
        if noted.len() == before {
            return found;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hythe_spec::{Component, Condition, Dependency};
    use hythe_store::ComponentSpec;

    use super::*;

    fn record(name: &str, on: Option<&str>) -> DesiredRecord {
        let mut component = Component::new(name, "localhost/x:1".parse().expect("a reference"));
        let dependency = Dependency { condition: Condition::Started, restart: true };
        component.depends_on = on.into_iter().map(|on| (on.to_owned(), dependency)).collect();
        let spec = ComponentSpec { component, labels: BTreeMap::new(), hash: String::new() };
        DesiredRecord::new("shop", spec, 1, Desired::Running, "memory")
    }

    #[test]
    fn followers_of_followers_come_after_them_whatever_their_names() {
        let records = vec![record("a", Some("m")), record("m", Some("z")), record("z", Some("db"))];
        let names = dependencies_first(records).into_iter().map(|record| record.spec.component.name);
        assert_eq!(names.collect::<Vec<_>>(), ["z", "m", "a"]);
    }
}
