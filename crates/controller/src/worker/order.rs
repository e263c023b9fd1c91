//! What depends on a workload is stopped before it, where both are to stop.

use hythe_store::{Desired, DesiredRecord, InstanceRecord, Phase};

use super::Worker;
use crate::lifecycle;
use crate::model::WorkloadState;

impl Worker {
    /// One that depends on this workload, is to stop as well and has not yet. Its moves wake this task.
    pub(super) fn dependent(&mut self, desired: &DesiredRecord) -> Option<String> {
        self.dependents = None;
        let stops = desired.desired != Desired::Running || desired.restart > self.observed.restarted;
        if !stops {
            return None;
        }
        let own = &desired.spec.component.name;
        for handle in self.controller.registry.of_service(&desired.service) {
            let mut watched = handle.state.subscribe();
            let first = {
                let state = watched.borrow_and_update();
                let depends = state.desired.spec.component.depends_on.contains_key(own);
                (depends && is_to_go(&state)).then(|| state.desired.spec.component.name.clone())
            };
            if first.is_some() {
                self.dependents = Some(watched);
                return first;
            }
        }
        None
    }
}

/// Whether it runs, is to stop and will. One that cannot be stopped keeps nobody waiting.
fn is_to_go(state: &WorkloadState) -> bool {
    let (desired, observed) = (&state.desired, &state.observed);
    let runs = |instance: &InstanceRecord| lifecycle::may_run(instance);
    let leaves = match desired.desired {
        Desired::Stopped => observed.stop_handled < desired.requests,
        Desired::Removed => true,
        Desired::Running => {
            desired.restart > observed.restarted || observed.restart_requested.as_ref().is_some_and(String::is_empty)
        }
    };
    let stuck = observed.next_try.is_some() || observed.phase == Phase::Unknown;
    leaves && !stuck && observed.current.iter().chain(&observed.previous).any(runs)
}
