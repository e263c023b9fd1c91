//! The order among workloads that depend on each other.

use std::collections::BTreeSet;

use crate::registry::WorkloadHandle;

/// Dependents first: whoever is to stop sees who stops before it.
pub(crate) fn stop_order(handles: Vec<WorkloadHandle>) -> Vec<WorkloadHandle> {
    let component = |handle: &WorkloadHandle| handle.state.borrow().desired.spec.component.clone();
    let waves = dependents_first(
        handles,
        |handle| component(handle).name,
        |handle| component(handle).depends_on.into_keys().collect(),
    );
    waves.into_iter().flatten().collect()
}

/// In waves: first what nothing else among them depends on. Cycles cannot be (they are refused at deploy).
pub(crate) fn dependents_first<T>(
    all: Vec<T>,
    name: impl Fn(&T) -> String,
    needs: impl Fn(&T) -> BTreeSet<String>,
) -> Vec<Vec<T>> {
    let mut waves = Vec::new();
    let mut rest = all;
    while !rest.is_empty() {
        let needed: BTreeSet<String> = rest.iter().flat_map(&needs).collect();
        let (now, later): (Vec<T>, Vec<T>) = rest.into_iter().partition(|one| !needed.contains(&name(one)));
        if now.is_empty() {
            waves.push(later);
            return waves;
        }
        waves.push(now);
        rest = later;
    }
    waves
}
