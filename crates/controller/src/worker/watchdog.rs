//! What is done while an instance runs: its probes, and reading its details where nobody told of them.

use hythe_runtime::InstanceId;
use hythe_store::{Desired, HealthState, InstanceRecord, Life};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

use super::{Message, Worker};
use crate::health::{Prober, Tracker};
use crate::lifecycle::Step;

/// Longer than engines take to tell of a start.
const LOOK_LATER: Duration = Duration::from_secs(1);

/// Probes of the current instance and the next look at it.
#[derive(Debug)]
pub(super) struct Watchdog {
    inbox: mpsc::UnboundedSender<Message>,
    prober: Option<Prober>,
    tracker: Tracker,
    look: Option<Look>,
}

/// A look that is due, where the details are not known by then or in any case.
#[derive(Debug)]
struct Look {
    at: Instant,
    anyway: bool,
}

impl Watchdog {
    pub(super) fn new(inbox: mpsc::UnboundedSender<Message>) -> Self {
        Self { inbox, prober: None, tracker: Tracker::default(), look: None }
    }

    /// The engine's own event of a start has the details read; should none come, a later look does.
    pub(super) fn stepped(&mut self, step: Step) {
        match step {
            Step::Run | Step::Start => self.look = Some(Look { at: Instant::now() + LOOK_LATER, anyway: false }),
            Step::Look => self.look = None,
            _ => {}
        }
    }

    /// After a list: what happened while nobody looked shows in the details only.
    pub(super) fn listed(&mut self) {
        self.look = Some(Look { at: Instant::now() + LOOK_LATER, anyway: true });
    }

    /// Nothing is probed until it is watched over again.
    pub(super) fn rest(&mut self) {
        self.prober = None;
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.look.as_ref().map(|look| look.at)
    }

    /// Whether the time of a look has come and it is needed; from now on it is not.
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
    pub(super) fn watch_over(&mut self) {
        let Some(current) = self.observed.current.as_ref() else {
            self.watchdog.prober = None;
            return;
        };
        let wanted = self.cell.borrow().desired.desired == Desired::Running;
        let (Some(health), Some(id)) = (&current.recipe.component.health, &current.id) else {
            self.watchdog.prober = None;
            return;
        };
        match current.life {
            Life::Running if wanted => {}
            // A look at it is under way.
            Life::Unknown if self.observed.health != HealthState::None => return,
            _ => {
                self.watchdog.prober = None;
                return;
            }
        }
        let id = InstanceId(id.clone());
        if self.watchdog.prober.as_ref().is_some_and(|prober| prober.is_for(&id, current.started)) {
            return;
        }
        let Ok(runtime) = self.runtime(&current.runtime) else { return };
        let proven = self.observed.health == HealthState::Healthy;
        self.watchdog.tracker = if proven { Tracker::healthy() } else { Tracker::default() };
        let prober = Prober::start(&self.controller, health.clone(), current, runtime, self.watchdog.inbox.clone());
        self.watchdog.prober = Some(prober);
    }

    /// What the result of a probe changes.
    pub(super) fn probed(
        &mut self,
        id: &InstanceId,
        result: Result<(), String>,
    ) -> Option<(HealthState, Option<String>)> {
        let current = self.observed.current.as_ref()?;
        let health = current.recipe.component.health.clone()?;
        let runs = current.life == Life::Running && current.id.as_deref() == Some(&id.0);
        let probed = self.watchdog.prober.as_ref().is_some_and(|prober| prober.is_for(id, current.started));
        if runs && probed { self.watchdog.tracker.take(&health, result) } else { None }
    }
}
