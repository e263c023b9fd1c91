//! Dependencies: how far each must be before a workload starts.
//!
//! A deploy fails when a dependency cannot become ready. After a boot or a loss no request waits, so that the workload starts without a dependency that does
//! not come, with a warning, after a while.

use hythe_runtime::watched;
use hythe_spec::Condition;
use hythe_spec::vocabulary::EventKind;
use hythe_store::{Desired, DesiredRecord, HealthState, Phase};
use serde_json::json;
use tokio::time::{Duration, Instant};

use super::Worker;
use crate::lifecycle::{self, CRASH_LOOP, DependencyGate, Note};
use crate::model::WorkloadState;

/// How long a dependency is waited for where nobody waits for the outcome.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// How long a workload has waited for a dependency, and for which.
#[derive(Debug, Default)]
pub(super) struct DependencyWait {
    since: Option<Instant>,
    /// Somebody waits for the outcome, and so for the dependency, however long.
    asked: bool,
    /// It starts without what did not come.
    over: bool,
    watched: Option<watched::Receiver<WorkloadState>>,
}

impl DependencyWait {
    /// Resolves when the dependency that is waited for has moved, or was waited for long enough.
    pub(super) async fn moved(&mut self) {
        let end = self.since.unwrap_or_else(Instant::now) + MAX_WAIT;
        let Some(watched) = &mut self.watched else {
            return match self.since {
                Some(_) if !self.asked && !self.over => tokio::time::sleep_until(end).await,
                _ => std::future::pending().await,
            };
        };
        tokio::select! {
            biased;
            changed = watched.changed() => {
                if changed.is_err() {
                    self.watched = None;
                }
            }
            () = tokio::time::sleep_until(end), if !self.asked => {}
        }
    }
}

impl Worker {
    /// Whether it may start as far as its dependencies go, and what to warn of.
    ///
    /// What has never proved good in what is desired waits as long as it takes, whoever waits for it: nothing of it runs without what it depends on.
    pub(super) fn gate(&mut self, desired: &DesiredRecord) -> (DependencyGate, Option<Note>) {
        self.gate.watched = None;
        let depends = !desired.spec.component.depends_on.is_empty();
        if !depends || desired.desired != Desired::Running || lifecycle::is_settled(desired, &self.observed) {
            self.gate = DependencyWait::default();
            return (DependencyGate::Open, None);
        }
        // Whoever asked may be heard of a little later than what was asked for.
        let requested = self.request.is_some() || desired.requests > self.observed.requests_seen;
        let asked = requested || lifecycle::is_new(desired, &self.observed);
        if self.gate.over && !asked {
            return (DependencyGate::Open, None);
        }
        self.gate.asked = asked;
        for (name, dependency) in &desired.spec.component.depends_on {
            match self.dependency(desired, name, dependency.condition) {
                Some(Ok(())) => {}
                Some(Err(reason)) if asked => {
                    return (DependencyGate::Closed(format!("its dependency `{name}` {reason}")), None);
                }
                Some(Err(reason)) => return self.resume(name, &reason),
                None if !asked && self.waited_long() => return self.resume(name, "is not ready after a minute"),
                None => return (DependencyGate::Waiting(name.clone()), None),
            }
        }
        self.gate.since = None;
        (DependencyGate::Open, None)
    }

    fn resume(&mut self, name: &str, reason: &str) -> (DependencyGate, Option<Note>) {
        self.gate.over = true;
        let words = format!("starts although its dependency `{name}` {reason}");
        (
            DependencyGate::Open,
            Some(Note::new(EventKind::Warning, words, json!({ "dependency": name, "reason": reason }))),
        )
    }

    fn waited_long(&mut self) -> bool {
        self.gate.since.get_or_insert_with(Instant::now).elapsed() >= MAX_WAIT
    }

    fn dependency(&mut self, desired: &DesiredRecord, name: &str, condition: Condition) -> Option<Result<(), String>> {
        let workload = hythe_spec::service::workload_name(&desired.service, name);
        let Some(handle) = self.controller.registry.get(&workload) else {
            // Tasks begin one after the other: it may be known in a moment.
            return self.request.is_some().then(|| Err("is not deployed".to_owned()));
        };
        let mut watched = handle.state.subscribe();
        let needed = desired.needs.get(name).copied().filter(|_| lifecycle::is_new(desired, &self.observed));
        let progress = progress_of(&watched.borrow_and_update(), condition, needed);
        // What never will be may be all the same once somebody sees to it.
        self.gate.watched = (!matches!(progress, Some(Ok(())))).then_some(watched);
        progress
    }
}

/// How far a dependency is: `None` not yet, else reached or why it never will be. `needed`: the generation that was accepted with what waits for it.
pub(super) fn progress_of(
    state: &WorkloadState,
    condition: Condition,
    needed: Option<u64>,
) -> Option<Result<(), String>> {
    let (desired, observed) = (&state.desired, &state.observed);
    if desired.desired != Desired::Running {
        return Some(Err("is stopped".to_owned()));
    }
    let to_come = needed.is_some_and(|needed| desired.generation < needed);
    if to_come || observed.requests_seen < desired.requests {
        return None;
    }
    let failed = |words: &str| Some(Err(format!("failed: {}", words.lines().next().unwrap_or_default())));
    let words = observed.message.as_deref().unwrap_or("no reason known");
    let rolled_back = observed.rolled_back_from == Some(desired.generation);
    let current = observed.current.as_ref();
    let up_to_date = current.is_some_and(|current| lifecycle::is_wanted(current, desired, observed));
    let came = current.is_some_and(|current| needed.is_none_or(|needed| current.generation >= needed));
    if (observed.phase == Phase::Failed && (up_to_date || current.is_none())) || (rolled_back && !came) {
        return failed(words);
    }
    // It is about to end, and to be started again.
    let follows = lifecycle::is_to_follow(desired, observed) && !observed.follow_stalled;
    if desired.restart > observed.restarted || observed.restart_requested.is_some() || follows {
        return None;
    }
    let probed = current.is_some_and(hythe_store::InstanceRecord::is_probed);
    match (observed.phase, condition) {
        _ if !up_to_date => None,
        (Phase::Restarting, _) if observed.failures >= CRASH_LOOP => Some(Err(format!("does not stay up: {words}"))),
        (Phase::Paused, _) => Some(Err("is paused".to_owned())),
        (Phase::Completed, Condition::Completed | Condition::Started) => Some(Ok(())),
        (Phase::Completed, Condition::Healthy) => Some(Err("has ended".to_owned())),
        (Phase::Running, Condition::Started) => Some(Ok(())),
        (Phase::Running, Condition::Healthy) if observed.health == HealthState::Healthy => Some(Ok(())),
        (Phase::Running, Condition::Healthy) if observed.health == HealthState::Unhealthy => {
            Some(Err("is not healthy".to_owned()))
        }
        // Its image may have none, or after a rollback it may be one that nobody probes.
        (Phase::Running, Condition::Healthy) if !probed => {
            Some(Err("has no health check, nor has its image, so it never becomes healthy".to_owned()))
        }
        _ => None,
    }
}
