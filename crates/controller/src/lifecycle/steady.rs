//! The current instance is up: restarts, reloads, and the removal of what it replaced.

use hythe_store::{DesiredRecord, Life, ObservedRecord, Phase};

use super::follow::{Follow, followed};
use super::record::{is_replaced, retire_previous};
use super::step::{Facts, Next, Step};
use super::{refresh, reload};

/// It runs: it is restarted where that is requested, and the instance it replaced is removed once it is ready.
pub(super) fn steady(desired: &DesiredRecord, observed: &mut ObservedRecord, facts: &Facts<'_>, life: Life) -> Next {
    if desired.restart > observed.restarted && facts.dependent.is_none() {
        observed.restarted = desired.restart;
        observed.restart_requested = Some(String::new());
    }
    if facts.follow == Follow::Due && !is_replaced(desired, observed) && observed.restart_requested.is_none() {
        followed(desired, observed);
        observed.restart_requested = Some(String::new());
    }
    if observed.restart_requested.is_some() {
        observed.phase = Phase::Stopping;
        return Next::Do(Step::StopCurrent);
    }
    if life == Life::Running && reload::is_due(desired, observed) {
        observed.phase = Phase::Running;
        return Next::Do(Step::Signal);
    }
    let ready_once = observed.current.as_ref().is_some_and(|current| current.ready_once);
    if let Some(step) = retire_previous(observed).filter(|_| ready_once) {
        return Next::Do(step);
    }
    observed.phase = if life == Life::Paused { Phase::Paused } else { Phase::Running };
    if !facts.fetching && refresh::is_due(desired, observed) {
        return Next::Do(Step::Pull);
    }
    Next::Wait(None)
}
