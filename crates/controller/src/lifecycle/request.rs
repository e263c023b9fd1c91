//! Explicit requests: taken up at once, and answered when there is an answer.

use hythe_runtime::ErrorKind;
use hythe_store::{Desired, DesiredRecord, Failure, HealthState, Life, ObservedRecord, Phase, Prerequisites};

use super::follow::is_to_follow;
use super::record::is_replaced;
use super::reload;

/// A request that is new is tried at once, whatever failed before.
pub(super) fn take_request(desired: &DesiredRecord, observed: &mut ObservedRecord) {
    if desired.requests <= observed.requests_seen {
        return;
    }
    observed.requests_seen = desired.requests;
    observed.failures = 0;
    observed.next_try = None;
    observed.failure = None;
    observed.refresh_failure = None;
    if observed.rolled_back_from != Some(desired.generation) {
        observed.blocked = false;
    }
    if desired.desired != Desired::Running {
        return;
    }
    if observed.phase == Phase::Completed && desired.refresh == desired.requests {
        // A job that has done its work does it again with another image only.
        return;
    }
    let at_rest = matches!(
        observed.phase,
        Phase::Failed | Phase::Completed | Phase::Restarting | Phase::Stopped | Phase::Stopping | Phase::Removing
    );
    // What is to be replaced and was not given up goes on as it was until then.
    let goes_on = observed.phase == Phase::Restarting && is_replaced(desired, observed);
    if at_rest && !goes_on {
        observed.phase = Phase::Pending;
        observed.message = None;
    }
    let Some(current) = &mut observed.current else { return };
    if current.life == Life::Succeeded {
        current.life = Life::Exited;
    }
    if matches!(current.life, Life::Exited | Life::Pending) {
        observed.restarted = desired.restart;
        observed.prerequisites = Prerequisites::Nothing;
    }
}

/// Whether whoever asked can be answered, and with what.
pub(crate) fn request_is_answered(desired: &DesiredRecord, observed: &ObservedRecord) -> Option<Result<(), Failure>> {
    if observed.requests_seen < desired.requests {
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
        // A step that could not be taken says itself what helps.
        let own = observed.failure.as_ref().filter(|failure| Some(&failure.message) == observed.message.as_ref());
        if let Some(failure) = own {
            return Some(Err(failure.clone()));
        }
        let words = observed.message.as_deref().unwrap_or("its runtime does not answer");
        return Some(Err(failure(ErrorKind::Unavailable, words, Some("`hythe runtimes` shows what was tried"))));
    }
    if desired.desired == Desired::Running && is_replaced(desired, observed) {
        return None;
    }
    let failed = observed.next_try.is_some() && observed.failure.is_some();
    match desired.desired {
        Desired::Stopped if observed.phase == Phase::Stopped => return Some(Ok(())),
        Desired::Stopped | Desired::Removed => return observed.failure.is_some().then(|| Err(known())),
        Desired::Running if failed => return Some(Err(known())),
        // A request since then, such as a restart, is about what runs, and has cleared the failure.
        Desired::Running if observed.rolled_back_from == Some(desired.generation) && observed.failure.is_some() => {
            let at_rest = matches!(observed.phase, Phase::Running | Phase::Completed | Phase::Failed | Phase::Paused);
            return at_rest.then(|| Err(known()));
        }
        Desired::Running => {}
    }
    let current = observed.current.as_ref()?;
    let probed = current.is_probed();
    match (observed.phase, observed.health) {
        (Phase::Failed, _) => Some(Err(known())),
        (Phase::Completed | Phase::Running, _) if desired.refresh > observed.refreshed => None,
        (Phase::Completed, _) => Some(observed.refresh_failure.clone().map_or(Ok(()), Err)),
        (Phase::Running, _) if current.life != Life::Running || observed.previous.is_some() => None,
        (Phase::Running, _) if reload::is_due(desired, observed) => None,
        (Phase::Running, _) if desired.completes => None,
        (Phase::Running, _) if is_to_follow(desired, observed) && !observed.follow_stalled => None,
        (Phase::Running, _) if observed.refresh_failure.is_some() => observed.refresh_failure.clone().map(Err),
        (Phase::Running, HealthState::Unhealthy) => Some(Err(known())),
        (Phase::Running, HealthState::Healthy) => Some(Ok(())),
        (Phase::Running, _) => (!probed).then_some(Ok(())),
        (Phase::Paused, _) => {
            let words = format!("`{}` was paused out of band", desired.name);
            Some(Err(failure(ErrorKind::Conflict, &words, Some("`hythe restart` ends that"))))
        }
        _ => None,
    }
}
