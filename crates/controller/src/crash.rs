//! Places where a crash must do no harm, so that tests can crash there.

use crate::Controller;
use crate::lifecycle::Step;

/// Where in a step.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moment {
    /// The intent is committed, the engine not asked yet.
    Intended,
    /// The engine has answered, nothing of it is committed.
    Acted,
    /// The outcome is committed.
    Stored,
}

impl Moment {
    const ALL: [Self; 3] = [Self::Intended, Self::Acted, Self::Stored];

    const fn name(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Acted => "acted",
            Self::Stored => "stored",
        }
    }
}

/// After a request was committed, before any task knows.
pub(crate) const ACCEPTED: &str = "accept.stored";
/// After an unknown workload was adopted from the labels of its instance.
pub(crate) const ADOPTED_FROM_LABELS: &str = "rebuild.stored";

impl Controller {
    /// The names of all crash points, `<step>.<moment>`.
    pub fn crash_points() -> Vec<String> {
        let of_steps = Step::ALL.into_iter().flat_map(|step| Moment::ALL.map(|moment| point(step, moment)));
        of_steps.chain([ACCEPTED.to_owned(), ADOPTED_FROM_LABELS.to_owned()]).collect()
    }

    pub(crate) async fn pass_step(&self, step: Step, moment: Moment) {
        if self.settings.crash.is_some() {
            self.pass(&point(step, moment)).await;
        }
    }

    /// Passes a crash point; never returns where the test says so.
    pub(crate) async fn pass(&self, point: &str) {
        if self.settings.crash.as_ref().is_some_and(|hook| hook(point)) {
            std::future::pending::<()>().await;
        }
    }

    /// As [`Controller::pass`] where nothing can wait: the hook itself must end the process, or cancel what follows.
    pub(crate) fn pass_now(&self, point: &str) -> bool {
        self.settings.crash.as_ref().is_some_and(|hook| hook(point))
    }
}

fn point(step: Step, moment: Moment) -> String {
    format!("{}.{}", step.name(), moment.name())
}
