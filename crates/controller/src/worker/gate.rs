//! Dependencies: how far each must be before a workload starts.
//!
//! Who asked for a deploy is told when a dependency cannot be; after a boot or a loss nobody is there to ask, so that a dependency that does not come
//! is warned of and done without after a while.

use hythe_spec::Condition;
use hythe_store::{Desired, DesiredRecord, HealthState, Phase};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

use super::Worker;
use crate::directory::Cell;
use crate::lifecycle::{CRASH_LOOP, Gate, Note};

/// How long a dependency is waited for where nobody waits for the outcome.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a workload has waited for a dependency, and for which.
#[derive(Debug, Default)]
pub(super) struct Patience {
    since: Option<Instant>,
    /// Somebody waits for the outcome, and so for the dependency, however long.
    asked: bool,
    /// It starts without what did not come.
    over: bool,
    watched: Option<watch::Receiver<Cell>>,
}

impl Patience {
    /// Resolves when the dependency that is waited for has moved, or was waited for long enough.
    pub(super) async fn moved(&mut self) {
        let end = self.since.unwrap_or_else(Instant::now) + PATIENCE;
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
    pub(super) fn gate(&mut self, desired: &DesiredRecord) -> (Gate, Option<Note>) {
        self.gate.watched = None;
        let runs = matches!(self.observed.phase, Phase::Running | Phase::Paused);
        if runs || desired.desired != Desired::Running || desired.recipe.component.depends_on.is_empty() {
            self.gate = Patience::default();
            return (Gate::Open, None);
        }
        if self.gate.over {
            return (Gate::Open, None);
        }
        let asked = self.request.is_some();
        self.gate.asked = asked;
        for (name, condition) in &desired.recipe.component.depends_on {
            match self.dependency(desired, name, *condition) {
                Some(Ok(())) => {}
                Some(Err(reason)) if asked => return (Gate::Closed(format!("its dependency `{name}` {reason}")), None),
                Some(Err(reason)) => return self.go_on(name, &reason),
                None if !asked && self.waited_long() => return self.go_on(name, "is not ready after a minute"),
                None => return (Gate::Waiting(name.clone()), None),
            }
        }
        self.gate.since = None;
        (Gate::Open, None)
    }

    fn go_on(&mut self, name: &str, reason: &str) -> (Gate, Option<Note>) {
        self.gate.over = true;
        let words = format!("starts although its dependency `{name}` {reason}");
        (Gate::Open, Some(Note::new("warning", words, json!({ "dependency": name, "reason": reason }))))
    }

    fn waited_long(&mut self) -> bool {
        self.gate.since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE
    }

    fn dependency(&mut self, desired: &DesiredRecord, name: &str, condition: Condition) -> Option<Result<(), String>> {
        let workload = hythe_spec::service::workload_name(&desired.service, name);
        let Some(handle) = self.controller.directory.get(&workload) else {
            // Tasks begin one after the other: it may be known in a moment.
            return self.gate.asked.then(|| Err("is not deployed".to_owned()));
        };
        let mut watched = handle.cell.subscribe();
        let progress = progress_of(&watched.borrow_and_update(), condition);
        self.gate.watched = progress.is_none().then_some(watched);
        progress
    }
}

/// How far a dependency is: `None` not yet, else reached or why it never will be.
fn progress_of(cell: &Cell, condition: Condition) -> Option<Result<(), String>> {
    let observed = &cell.observed;
    let probed = observed.current.as_ref().is_some_and(|current| current.recipe.component.health.is_some());
    let up_to_date = observed.current.as_ref().is_some_and(|current| current.generation == cell.desired.generation)
        || observed.gave_up == Some(cell.desired.generation);
    if cell.desired.desired != Desired::Running {
        return Some(Err("is stopped".to_owned()));
    }
    match (observed.phase, condition) {
        (Phase::Failed, _) if observed.asked >= cell.desired.asked => {
            let words = observed.message.as_deref().unwrap_or("no reason known");
            Some(Err(format!("failed: {}", words.lines().next().unwrap_or_default())))
        }
        (Phase::Restarting, _) if observed.failures >= CRASH_LOOP => {
            let words = observed.message.as_deref().unwrap_or("it ends again and again");
            Some(Err(format!("does not stay up: {words}")))
        }
        (Phase::Paused, _) => Some(Err("is paused".to_owned())),
        _ if !up_to_date => None,
        (Phase::Completed, Condition::Completed | Condition::Started) => Some(Ok(())),
        (Phase::Completed, Condition::Healthy) => Some(Err("has ended".to_owned())),
        (Phase::Running, Condition::Started) => Some(Ok(())),
        (Phase::Running, Condition::Healthy) if observed.health == HealthState::Healthy => Some(Ok(())),
        (Phase::Running, Condition::Healthy) if observed.health == HealthState::Unhealthy => {
            Some(Err("is not healthy".to_owned()))
        }
        // After a rollback it may be one that nobody probes.
        (Phase::Running, Condition::Healthy) if !probed => Some(Err("runs without a health probe".to_owned())),
        _ => None,
    }
}
