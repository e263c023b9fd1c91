//! Looking at the current instance: its details, its probes, and when it has proven good.

use hythe_runtime::{Error, Observed, State};
use hythe_store::{Desired, HealthState, Phase};
use jiff::Timestamp;

use super::Worker;
use super::instance::{exit_record, reference, with_details};
use crate::health::{Prober, Tracker};

impl Worker {
    /// The current instance is good: what it replaced goes, who waits is told.
    pub(crate) async fn proven(&mut self) {
        let observed = self.observed();
        if observed.previous.is_none() && observed.current.is_none_or(|current| current.proven) {
            self.unproven = false;
            self.answer(Ok(()));
            return;
        }
        self.unproven = false;
        self.phase("healthy", "healthy");
        if let Err(error) = self.retire_previous().await {
            tracing::warn!(workload = self.desired().name, %error, "the replaced instance was not removed yet");
        }
        self.note(Vec::new(), |observed| observed.failures = 0);
        self.answer(Ok(()));
    }

    /// After a crash in the middle of a replacement: the new instance must still prove itself, unless it has no probe or has passed it.
    pub(crate) async fn prove_again(&mut self) {
        let observed = self.observed();
        let good = self.component().health.is_none() || observed.health == HealthState::Healthy;
        self.unproven = (self.unproven || observed.previous.is_some()) && !good;
        if good && let Err(error) = self.retire_previous().await {
            tracing::warn!(workload = self.desired().name, %error, "the replaced instance was not removed yet");
        }
    }

    /// Reads pid, addresses and ports of the current instance and starts its probes.
    pub(crate) async fn refresh(&mut self) {
        if let Ok(Some(seen)) = self.inspect_current().await {
            self.show(&seen);
        }
    }

    /// As [`Worker::refresh`] where nothing is known yet; an end that came before anybody listened for it is noticed too.
    pub(crate) async fn look(&mut self) {
        if self.observed().current.is_none_or(|current| current.pid.is_some()) {
            return;
        }
        match self.inspect_current().await {
            Ok(Some(seen)) if seen.state == State::Exited => {
                if let Some(exit) = exit_record(&seen) {
                    let at = exit.at.unwrap_or_else(Timestamp::now);
                    self.on_stopped(exit, at).await;
                }
            }
            Ok(Some(seen)) => self.show(&seen),
            Ok(None) | Err(_) => {}
        }
    }

    fn show(&mut self, seen: &Observed) {
        if self.desired().desired != Desired::Running {
            return;
        }
        let phase = match seen.state {
            State::Running => Phase::Running,
            State::Paused => Phase::Paused,
            State::Created | State::Stopping | State::Exited | State::Removing | State::Unknown => {
                return;
            }
        };
        let proven = self.was_healthy(seen);
        self.note(Vec::new(), |observed| {
            if observed.phase != Phase::Running && observed.phase != phase {
                observed.message = None;
                observed.next_try = None;
            }
            observed.phase = phase;
            observed.current = observed.current.take().map(|current| with_details(current, seen));
        });
        self.probe(seen, proven);
    }

    /// Whether this very run of the instance was healthy when last looked at.
    pub(crate) fn was_healthy(&self, seen: &Observed) -> bool {
        let observed = self.observed();
        let started = observed.current.and_then(|current| current.started);
        observed.health == HealthState::Healthy && started == seen.started
    }

    /// Starts probing the instance, once per start of it.
    pub(crate) fn probe(&mut self, seen: &Observed, proven: bool) {
        let Some(health) = self.component().health else {
            return;
        };
        if self.prober.as_ref().is_some_and(|prober| prober.is_for(&seen.id, seen.started)) {
            return;
        }
        let Ok(runtime) = self.runtime(&self.desired().placement.runtime) else {
            return;
        };
        let Some(handle) = self.controller.directory.get(&self.desired().name) else {
            return;
        };
        self.tracker = if proven { Tracker::healthy() } else { Tracker::default() };
        if !proven {
            self.note(Vec::new(), |observed| observed.health = HealthState::Starting);
        }
        self.prober = Some(Prober::start(health, seen, runtime, handle.inbox));
    }

    pub(crate) fn stop_probing(&mut self) {
        self.prober = None;
        if self.observed().health != HealthState::None {
            self.note(Vec::new(), |observed| observed.health = HealthState::None);
        }
    }

    /// What the engine says of the current instance; `None` when it has none of that name.
    pub(crate) async fn inspect_current(&self) -> Result<Option<Observed>, Error> {
        let Some(current) = self.observed().current else {
            return Ok(None);
        };
        let runtime = self.runtime(&current.runtime)?;
        match runtime.inspect(&self.context(), &reference(&current)).await {
            Ok(observed) => Ok(Some(observed)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
