//! Dependencies that a request restarted or replaced, and whether they are back.

use hythe_spec::Condition;
use hythe_store::DesiredRecord;

use super::Worker;
use super::gate::progress_of;
use crate::lifecycle::{self, Follow};
use crate::model::WorkloadState;

impl Worker {
    /// How far the dependencies are after whose change it is restarted. The one that is waited for wakes this task.
    pub(super) fn follow(&mut self, desired: &DesiredRecord) -> Follow {
        self.followed = None;
        if !lifecycle::is_to_follow(desired, &self.observed) {
            return Follow::None;
        }
        let mut follow = Follow::Moot;
        for (name, count) in &desired.follow {
            if self.observed.followed.get(name).is_some_and(|known| known >= count) {
                continue;
            }
            let Some(dependency) = desired.spec.component.depends_on.get(name) else { continue };
            let workload = hythe_spec::service::workload_name(&desired.service, name);
            let Some(handle) = self.controller.registry.get(&workload) else {
                // It may be known in a moment, or the agent is about to end.
                follow = follow.max(Follow::Stalled);
                continue;
            };
            let mut watched = handle.state.subscribe();
            let one = self.after(&watched.borrow_and_update(), dependency.condition);
            if one >= Follow::Stalled && one > follow {
                self.followed = Some(watched);
            }
            follow = follow.max(one);
        }
        follow
    }

    /// How far one of them is.
    fn after(&self, dependency: &WorkloadState, condition: Condition) -> Follow {
        let (desired, observed) = (&dependency.desired, &dependency.observed);
        if lifecycle::is_to_follow(desired, observed) && observed.follow_stalled {
            return Follow::Stalled;
        }
        match progress_of(dependency, condition, None) {
            None => Follow::Waits,
            Some(Err(_)) => Follow::Stalled,
            Some(Ok(())) if self.is_untouched(dependency) => Follow::Moot,
            Some(Ok(())) => Follow::Due,
        }
    }

    /// Whether it was left as it was: what was deployed was given up before it took over, or what it was to be restarted after was. What runs of it is
    /// older than what depends on it.
    fn is_untouched(&self, dependency: &WorkloadState) -> bool {
        let started = |current: Option<&hythe_store::InstanceRecord>| current.and_then(|current| current.started);
        let rolled_back = dependency.observed.rolled_back_from == Some(dependency.desired.generation);
        let follows = !dependency.desired.follow.is_empty();
        let (theirs, ours) = (started(dependency.observed.current.as_ref()), started(self.observed.current.as_ref()));
        (rolled_back || follows) && theirs.zip(ours).is_some_and(|(theirs, ours)| theirs <= ours)
    }
}
