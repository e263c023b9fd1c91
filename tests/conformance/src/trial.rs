//! One trial.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::failure::{Failure, Outcome, caught};
use crate::fixture::Fixture;
use crate::need::Need;
use crate::subject::Subject;

/// Longest time for a trial.
const LIMIT: Duration = Duration::from_secs(150);
/// Longest time for cleaning up after it.
const CLEANUP: Duration = Duration::from_secs(90);

/// Something a runtime must do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trial {
    pub(crate) area: &'static str,
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) act: fn(&Fixture) -> BoxFuture<'_, Outcome>,
}

/// Lists trials: the area, then each function with what it needs.
macro_rules! trials {
    ($area:literal: $($name:ident [$($need:expr),*]),* $(,)?) => {
        pub(super) fn trials() -> Vec<$crate::trial::Trial> {
            vec![$($crate::trial::Trial {
                area: $area,
                name: stringify!($name),
                needs: &[$($need),*],
                act: |fixture| Box::pin($name(fixture)),
            }),*]
        }
    };
}
pub(crate) use trials;

impl Trial {
    /// `stop::paused_ends_stopped`.
    pub(crate) fn title(&self) -> String {
        format!("{}::{}", self.area, self.name)
    }

    /// Why it cannot run there; `None`: it can.
    pub(crate) fn skipped(&self, subject: &Subject) -> Option<String> {
        self.needs.iter().find_map(|need| need.unmet(subject))
    }

    /// Runs it and cleans up, whatever happened.
    pub(crate) async fn run(&self, subject: &Arc<Subject>) -> Outcome {
        let fixture = Fixture::new(subject);
        let outcome = tokio::time::timeout(LIMIT, caught((self.act)(&fixture))).await;
        let outcome = outcome.unwrap_or_else(|_| Err(late("the trial", LIMIT)));
        let cleaned = tokio::time::timeout(CLEANUP, fixture.clean()).await;
        let cleaned = cleaned.unwrap_or_else(|_| Err(late("cleaning up", CLEANUP)));
        match (outcome, cleaned) {
            (Err(first), Err(second)) => Err(Failure::new(format!("{first}\nand then cleaning up: {second}"))),
            (outcome, cleaned) => outcome.and(cleaned),
        }
    }
}

fn late(what: &str, limit: Duration) -> Failure {
    Failure::new(format!("{what} did not end within {} s", limit.as_secs()))
}
