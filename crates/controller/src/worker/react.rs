//! What a workload's task does when it is told that something happened.

use std::time::Duration;

use hythe_runtime::{Error, ErrorKind, Event, EventKind, InstanceId, Listed, State};
use hythe_store::{Desired, ExitRecord, HealthState, Phase};
use jiff::Timestamp;
use serde_json::json;

use super::instance::{describe_exit, exit_of, exit_record, is_same};
use super::{Flow, Worker};
use crate::policy::{self, Next};

impl Worker {
    pub(super) async fn on_engine(&mut self, event: Event) -> Flow {
        let Some(current) = self.observed().current else {
            return Flow::Goes;
        };
        if !is_same(&current, &event.id, event.name.as_deref()) {
            if event.identity.is_some() && matches!(event.kind, EventKind::Created | EventKind::Started) {
                self.remove_latecomers().await;
            }
            return Flow::Goes;
        }
        let running = self.desired().desired == Desired::Running;
        match event.kind {
            EventKind::Stopped { exit } => self.on_stopped(exit_of(exit), event.time).await,
            // What could not be started was removed by whoever tried.
            EventKind::Removed if running && self.observed().phase != Phase::Failed => {
                self.stop_probing();
                let event =
                    self.event("drift", "the instance was removed by hand", json!({ "instance": current.name }));
                self.note(vec![event], |observed| {
                    observed.current = None;
                    observed.phase = Phase::Pending;
                    observed.message = Some("the instance was removed by hand".to_owned());
                    observed.next_try = Some(Timestamp::now() + policy::delay(1));
                });
            }
            EventKind::Started if running => self.refresh().await,
            EventKind::Paused => {
                self.note(vec![self.event("paused", "paused", json!({}))], |o| o.phase = Phase::Paused)
            }
            EventKind::Unpaused => {
                self.note(vec![self.event("started", "unpaused", json!({}))], |o| o.phase = Phase::Running)
            }
            EventKind::OutOfMemory
            | EventKind::Created
            | EventKind::Started
            | EventKind::Removed
            | EventKind::Signalled { .. }
            | EventKind::Updated { .. }
            | EventKind::Image { .. } => {}
        }
        Flow::Goes
    }

    /// The main process of the current instance ended.
    pub(super) async fn on_stopped(&mut self, exit: ExitRecord, at: Timestamp) {
        let observed = self.observed();
        let handled = !matches!(observed.phase, Phase::Running | Phase::Starting | Phase::Paused | Phase::Unknown);
        if handled || self.desired().desired != Desired::Running {
            return;
        }
        self.stop_probing();
        let (exit, alive) = self.true_exit(exit, at).await;
        if alive {
            return;
        }
        let ran = observed
            .current
            .as_ref()
            .and_then(|current| current.started)
            .map_or(Duration::ZERO, |started| Duration::try_from(at.duration_since(started)).unwrap_or_default());
        let failures = if ran >= policy::STABLE { 1 } else { observed.failures.saturating_add(1) };
        let next = policy::after_exit(self.component().restart, exit.code, failures);
        self.conclude(next, failures, exit).await;
    }

    pub(super) async fn conclude(&mut self, next: Next, failures: u32, exit: ExitRecord) {
        let cause = describe_exit(&exit);
        if self.unproven {
            let error = Error::new(ErrorKind::Conflict, "start", format!("`{}` {cause}", self.desired().name));
            self.note(Vec::new(), |observed| observed.exit = Some(exit.clone()));
            if self.observed().previous.is_some() || !matches!(next, Next::Restart(_)) {
                return self.fail(error).await;
            }
            self.unproven = false;
            self.answer(Err(error));
        }
        let now = Timestamp::now();
        let (phase, kind, message, next_try) = match next {
            Next::Complete => (Phase::Completed, "completed", cause, None),
            Next::Fail => (Phase::Failed, "failed", cause, None),
            Next::Restart(wait) => {
                let message = format!("{cause}, next start in {} s", wait.as_secs());
                (Phase::Restarting, "restarting", message, Some(now + wait))
            }
        };
        let event = self.event(kind, message.clone(), json!({ "exit": exit }));
        self.note(vec![event], |observed| {
            observed.phase = phase;
            observed.health = HealthState::None;
            observed.message = Some(message.clone());
            observed.exit = Some(exit.clone());
            observed.failures = failures;
            if let Some(current) = &mut observed.current {
                current.pid = None;
            }
            observed.next_try = next_try;
        });
    }

    /// What the engine says of the end, which knows more than its event; also whether the process runs again already.
    pub(super) async fn true_exit(&self, exit: ExitRecord, at: Timestamp) -> (ExitRecord, bool) {
        match self.inspect_current().await {
            Ok(Some(seen)) if seen.state == State::Running => (exit, true),
            Ok(Some(seen)) => (exit_record(&seen).unwrap_or(exit), false),
            _ => (ExitRecord { at: exit.at.or(Some(at)), ..exit }, false),
        }
    }

    pub(super) async fn on_listed(&mut self, listed: Vec<Listed>) -> Flow {
        let observed = self.observed();
        self.remove_strays(&listed).await;
        let Some(current) = observed.current else {
            return self.converge_if_wanted().await;
        };
        if self.is_behind() {
            return self.converge().await;
        }
        let row = listed.iter().find(|row| is_same(&current, &row.id, Some(&row.name)));
        let seen = match row {
            Some(row) => Some((row.state, row.exit_code)),
            None => self.missed_by_list().await,
        };
        match (self.desired().desired, seen) {
            (Desired::Running, Some((State::Running, _))) => {
                self.refresh().await;
                self.prove_again().await;
            }
            (Desired::Running, Some((State::Exited, code))) if observed.phase != Phase::Restarting => {
                let settled = matches!(observed.phase, Phase::Completed | Phase::Failed);
                if !settled {
                    let exit = hythe_runtime::Exit::from_code(code.unwrap_or_default());
                    self.note(Vec::new(), |observed| observed.phase = Phase::Running);
                    self.on_stopped(exit_of(exit), Timestamp::now()).await;
                }
            }
            (Desired::Stopped, Some((State::Exited, _))) => {
                self.note(Vec::new(), |observed| observed.phase = Phase::Stopped);
            }
            _ => return self.converge_if_wanted().await,
        }
        Flow::Goes
    }

    /// Something newer is desired than what there is, and was not given up: its replacement was interrupted.
    fn is_behind(&self) -> bool {
        let (desired, observed) = (self.desired(), self.observed());
        let behind = observed.current.is_some_and(|current| current.generation != desired.generation);
        behind && desired.desired == Desired::Running && observed.gave_up != Some(desired.generation)
    }

    /// A list may be older than the current instance, which has perhaps run and ended since.
    async fn missed_by_list(&self) -> Option<(State, Option<i32>)> {
        let seen = self.inspect_current().await.ok().flatten()?;
        Some((seen.state, seen.exit.map(|exit| exit.code)))
    }

    /// What has ended for good is not tried again because an engine came back.
    pub(super) async fn converge_if_wanted(&mut self) -> Flow {
        let observed = self.observed();
        let settled =
            matches!(observed.phase, Phase::Completed | Phase::Failed) && self.desired().desired == Desired::Running;
        if settled || (observed.phase == Phase::Stopped && observed.current.is_none()) {
            return Flow::Goes;
        }
        self.converge().await
    }

    pub(super) fn on_lost(&mut self, reason: &str) {
        self.stop_probing();
        if matches!(self.observed().phase, Phase::Running | Phase::Paused | Phase::Starting | Phase::Stopping) {
            self.note(Vec::new(), |observed| {
                observed.phase = Phase::Unknown;
                observed.health = HealthState::None;
                observed.message = Some(format!("the runtime does not answer: {reason}"));
            });
        }
    }

    pub(super) async fn on_probed(&mut self, id: &InstanceId, result: Result<(), String>) {
        let current = self.observed().current.and_then(|current| current.id);
        let Some(health) = self.component().health else {
            return;
        };
        if current.as_deref() != Some(&id.0) || !matches!(self.observed().phase, Phase::Running | Phase::Starting) {
            return;
        }
        let Some((state, message)) = self.tracker.take(&health, result) else {
            return;
        };
        let kind = if state == HealthState::Healthy { "ready" } else { "unhealthy" };
        let event = self.event(kind, message.clone().unwrap_or_else(|| "healthy".to_owned()), json!({}));
        self.note(vec![event], |observed| {
            observed.health = state;
            // That it was rolled back stays the news while what runs is well.
            if message.is_some() || observed.gave_up.is_none() {
                observed.message.clone_from(&message);
            }
        });
        match state {
            HealthState::Healthy => self.proven().await,
            HealthState::Unhealthy if self.unproven => {
                let reason = message.unwrap_or_default();
                let text = format!("`{}` is not healthy: {reason}", self.desired().name);
                self.fail(Error::new(ErrorKind::Conflict, "health", text)).await;
            }
            HealthState::Unhealthy if health.on_failure == hythe_spec::OnFailure::Restart => {
                let outcome = self.restart_current().await;
                self.note(Vec::new(), |observed| observed.restarts += 1);
                self.settle(outcome).await;
            }
            HealthState::Unhealthy | HealthState::Starting | HealthState::None => {}
        }
    }
}
