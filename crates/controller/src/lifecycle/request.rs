//! Explicit requests: taken up at once, and answered when there is an answer.

use hythe_runtime::ErrorKind;
use hythe_store::{Desired, DesiredRecord, Failure, HealthState, Life, ObservedRecord, Phase, Supply};

/// A request that is new is tried at once, whatever failed before.
pub(super) fn take_request(desired: &DesiredRecord, observed: &mut ObservedRecord) {
    if desired.asked <= observed.asked {
        return;
    }
    observed.asked = desired.asked;
    observed.failures = 0;
    observed.next_try = None;
    observed.failure = None;
    if desired.desired != Desired::Running {
        return;
    }
    let at_rest = matches!(
        observed.phase,
        Phase::Failed | Phase::Completed | Phase::Restarting | Phase::Stopped | Phase::Stopping | Phase::Removing
    );
    if at_rest {
        observed.phase = Phase::Pending;
        observed.message = None;
    }
    let Some(current) = &mut observed.current else { return };
    if current.life == Life::Completed {
        current.life = Life::Exited;
    }
    if matches!(current.life, Life::Exited | Life::Intended) {
        observed.restarted = desired.restart;
        observed.supply = Supply::Nothing;
    }
}

/// Whether whoever asked can be answered, and with what.
pub(crate) fn request_is_answered(desired: &DesiredRecord, observed: &ObservedRecord) -> Option<Result<(), Failure>> {
    if observed.asked < desired.asked {
        return None;
    }
    let failure = |kind: ErrorKind, message: &str, hint: Option<&str>| Failure {
        generation: desired.generation,
        kind: kind.as_str().to_owned(),
        message: message.to_owned(),
        hint: hint.map(str::to_owned),
        lines: Vec::new(),
    };
    let known = || {
        let words = observed.message.as_deref().unwrap_or("it could not be done");
        observed.failure.clone().unwrap_or_else(|| failure(ErrorKind::Conflict, words, None))
    };
    if observed.phase == Phase::Unknown {
        let words = observed.message.as_deref().unwrap_or("its runtime does not answer");
        return Some(Err(failure(ErrorKind::Unavailable, words, Some("`hythe runtimes` shows what was tried"))));
    }
    let failed = observed.next_try.is_some() && observed.failure.is_some();
    match desired.desired {
        Desired::Stopped if observed.phase == Phase::Stopped => return Some(Ok(())),
        Desired::Stopped | Desired::Removed => return observed.failure.is_some().then(|| Err(known())),
        Desired::Running if failed => return Some(Err(known())),
        Desired::Running if observed.gave_up == Some(desired.generation) => {
            let at_rest = matches!(observed.phase, Phase::Running | Phase::Completed | Phase::Failed | Phase::Paused);
            return at_rest.then(|| Err(known()));
        }
        Desired::Running => {}
    }
    let current = observed.current.as_ref()?;
    let probed = current.recipe.component.health.is_some();
    match (observed.phase, observed.health) {
        (Phase::Failed, _) => Some(Err(known())),
        (Phase::Completed, _) => Some(Ok(())),
        (Phase::Running, _) if current.life != Life::Running || observed.previous.is_some() => None,
        (Phase::Running, HealthState::Unhealthy) => Some(Err(known())),
        (Phase::Running, HealthState::Healthy) => Some(Ok(())),
        (Phase::Running, _) => (!probed).then_some(Ok(())),
        (Phase::Paused, _) => {
            let words = format!("`{}` was paused by hand", desired.name);
            Some(Err(failure(ErrorKind::Conflict, &words, Some("`hythe restart` ends that"))))
        }
        _ => None,
    }
}
