//! What is due while an instance runs: its probes, and an inspect where no event brought its details.

use hythe_runtime::InstanceId;
use hythe_store::{Desired, HealthState, InstanceRecord, Life};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

use super::Worker;
use crate::health::{Prober, Tracker};
use crate::lifecycle::Step;
use crate::message::Message;

/// Longer than engines take to report a start.
const INSPECT_AFTER: Duration = Duration::from_secs(1);

/// Probes of the current instance and its next inspect.
#[derive(Debug)]
pub(super) struct Timers {
    inbox: mpsc::UnboundedSender<Message>,
    prober: Option<Prober>,
    tracker: Tracker,
    look: Option<Inspect>,
}

/// An inspect that is due: in any case, or where the details are not known by then.
#[derive(Debug)]
struct Inspect {
    at: Instant,
    anyway: bool,
}

impl Timers {
    pub(super) fn new(inbox: mpsc::UnboundedSender<Message>) -> Self {
        Self { inbox, prober: None, tracker: Tracker::default(), look: None }
    }

    /// The engine's own event of a start has the details read; should none come, a later inspect does.
    pub(super) fn stepped(&mut self, step: Step) {
        match step {
            Step::Run | Step::Start => self.look = Some(Inspect { at: Instant::now() + INSPECT_AFTER, anyway: false }),
            Step::Inspect => self.look = None,
            _ => {}
        }
    }

    /// After a list: what happened unobserved shows in the details only.
    pub(super) fn listed(&mut self) {
        self.look = Some(Inspect { at: Instant::now() + INSPECT_AFTER, anyway: true });
    }

    /// Nothing is probed until the next [`Worker::update_prober`].
    pub(super) fn rest(&mut self) {
        self.prober = None;
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.look.as_ref().map(|look| look.at)
    }

    /// Whether the inspect is due and needed; from now on it is not.
    pub(super) fn is_due(&mut self, current: Option<&InstanceRecord>) -> bool {
        match self.look.take() {
            Some(look) if look.at > Instant::now() => {
                self.look = Some(look);
                false
            }
            Some(look) => look.anyway || current.is_some_and(|current| current.pid.is_none()),
            None => false,
        }
    }
}

impl Worker {
    /// Probes the instance that runs, once per start of it, and nothing else.
    pub(super) fn update_prober(&mut self) {
        let Some(current) = self.observed.current.as_ref() else {
            self.timers.prober = None;
            return;
        };
        let wanted = self.state.borrow().desired.desired == Desired::Running;
        let (Some(health), Some(id)) = (current.health(), &current.id) else {
            self.timers.prober = None;
            return;
        };
        match current.life {
            Life::Running if wanted => {}
            // An inspect is under way.
            Life::Unknown if self.observed.health != HealthState::None => return,
            _ => {
                self.timers.prober = None;
                return;
            }
        }
        let id = InstanceId(id.clone());
        if self.timers.prober.as_ref().is_some_and(|prober| prober.is_for(&id, current.started)) {
            return;
        }
        let Ok(runtime) = self.runtime(&current.runtime) else { return };
        let healthy = self.observed.health == HealthState::Healthy;
        self.timers.tracker = if healthy { Tracker::healthy() } else { Tracker::default() };
        let prober = Prober::start(&self.controller, health.clone(), id, current, runtime, self.timers.inbox.clone());
        self.timers.prober = Some(prober);
    }

    /// What the result of a probe changes.
    pub(super) fn probed(
        &mut self,
        id: &InstanceId,
        result: Result<(), String>,
    ) -> Option<(HealthState, Option<String>)> {
        let current = self.observed.current.as_ref()?;
        let health = current.health().cloned()?;
        let runs = current.life == Life::Running && current.id.as_deref() == Some(&id.0);
        let probed = self.timers.prober.as_ref().is_some_and(|prober| prober.is_for(id, current.started));
        if runs && probed { self.timers.tracker.take(&health, result) } else { None }
    }
}
