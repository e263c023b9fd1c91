//! What a deploy does to a component, from what is known and what is wanted. Pure.

use std::collections::BTreeSet;

use hythe_spec::vocabulary::ComponentAction as Action;
use hythe_spec::{Component, ConfigChange, PullPolicy, Service};
use hythe_store::{ComponentSpec, Desired, DesiredRecord, Phase, Placement};

use crate::model::WorkloadState;

/// How to deploy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeployOptions {
    /// Only this component.
    pub component: Option<String>,
    /// Replace every instance, changed or not.
    pub force: bool,
    /// When images are fetched, in place of what the components say.
    pub pull: Option<PullPolicy>,
    /// Secrets that need not be set yet, as where nothing is deployed and the caller sets them before it is.
    pub unset_secrets: BTreeSet<String>,
}

/// What an instance of a component is made from.
pub(crate) fn spec(service: &Service, component: &Component) -> ComponentSpec {
    let mut hashed = component.clone();
    // What only says when and how often an instance is started does not make it another instance.
    hashed.depends_on.clear();
    hashed.runtime = None;
    hashed.pull_policy = PullPolicy::default();
    // Of a file that was never read before nobody knows whether it has changed.
    hashed.on_config_change = ConfigChange::default();
    hashed.file_digests.clear();
    for (key, value) in &service.labels {
        hashed.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    ComponentSpec {
        component: component.clone(),
        labels: service.labels.clone(),
        hash: hythe_spec::fingerprint(&hashed),
    }
}

/// What happens to a component; all that another policy than the component's own adds is left to the caller.
pub(crate) fn action(
    known: Option<&WorkloadState>,
    spec: &ComponentSpec,
    wanted: Desired,
    heal: bool,
    placement: &Placement,
    force: bool,
) -> Action {
    let Some(state) = known else {
        return Action::Create;
    };
    let (desired, observed) = (&state.desired, &state.observed);
    let failed = wanted == Desired::Running
        && (observed.phase == Phase::Failed || observed.rolled_back_from == Some(desired.generation));
    let policy = spec.component.on_config_change;
    let has_other_files = has_other_files(&desired.spec.component, &spec.component);
    let differs = desired.spec.hash != spec.hash || has_other_files && policy == ConfigChange::Restart;
    // What does not run reads them when it is started.
    let runs = wanted == Desired::Running && desired.desired == wanted && observed.phase != Phase::Completed;
    if force || failed || differs || desired.placement.runtime != placement.runtime {
        Action::Replace
    } else if has_other_files && runs && matches!(policy, ConfigChange::Signal(_)) {
        Action::Signal
    } else if desired.desired != wanted || desired.spec != *spec || desired.heal != heal {
        Action::Change
    } else {
        Action::Keep
    }
}

/// Whether it is to run.
pub(crate) fn runs(desired: &DesiredRecord) -> bool {
    desired.desired == Desired::Running
}

/// Whether a mounted file has another content.
fn has_other_files(known: &Component, wanted: &Component) -> bool {
    let changed = |(path, digest): (&String, &String)| known.file_digests.get(path).is_some_and(|old| old != digest);
    wanted.file_digests.iter().any(changed)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::collections::BTreeMap;

    use hythe_spec::{Drift, Signal};
    use hythe_store::ObservedRecord;
    use jiff::Timestamp;

    use super::*;

    fn service(policy: ConfigChange, content: &str) -> Service {
        let mut component = Component::new("web", "web:1".parse().unwrap());
        component.on_config_change = policy;
        component.file_digests = BTreeMap::from([("/srv/conf".to_owned(), content.to_owned())]);
        let name = "web".to_owned();
        Service {
            name,
            node: None,
            labels: BTreeMap::new(),
            active: true,
            drift: Drift::Report,
            components: vec![component],
        }
    }

    fn spec_of(service: &Service) -> ComponentSpec {
        spec(service, &service.components[0])
    }

    fn state(phase: Phase, wanted: Desired) -> WorkloadState {
        let known = spec_of(&service(ConfigChange::Restart, "one"));
        let desired = DesiredRecord::new("web", known, 1, wanted, "memory");
        WorkloadState { desired, observed: ObservedRecord { phase, ..ObservedRecord::new(Timestamp::UNIX_EPOCH) } }
    }

    fn of(state: &WorkloadState, service: &Service) -> Action {
        action(Some(state), &spec_of(service), Desired::Running, false, &state.desired.placement, false)
    }

    #[test]
    fn other_files_are_what_the_policy_of_now_makes_of_them() {
        let running = state(Phase::Running, Desired::Running);
        let hup = ConfigChange::Signal(Signal(1));
        assert_eq!(of(&running, &service(ConfigChange::Restart, "one")), Action::Keep);
        assert_eq!(of(&running, &service(ConfigChange::Restart, "two")), Action::Replace);
        assert_eq!(of(&running, &service(hup, "two")), Action::Signal);
        assert_eq!(of(&running, &service(ConfigChange::Ignore, "two")), Action::Change);
        assert_eq!(of(&running, &service(hup, "one")), Action::Change, "it is only noted");
    }

    #[test]
    fn signal_is_for_what_runs_and_has_no_other_change() {
        let mut wanted = service(ConfigChange::Signal(Signal(1)), "two");
        assert_eq!(of(&state(Phase::Completed, Desired::Running), &wanted), Action::Change);
        assert_eq!(of(&state(Phase::Stopped, Desired::Stopped), &wanted), Action::Change);
        assert_eq!(of(&state(Phase::Failed, Desired::Running), &wanted), Action::Replace);
        wanted.components[0].env.insert("V".to_owned(), "2".to_owned());
        assert_eq!(of(&state(Phase::Running, Desired::Running), &wanted), Action::Replace);
    }
}
