//! What is worth an alert, and the alert itself.

use std::collections::BTreeSet;
use std::time::Duration;

use hythe_store::EventRecord;
use jiff::Timestamp;

/// Something somebody wants to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A workload was restarted too often.
    Flapping,
    /// The probes of a workload fail.
    Unhealthy,
    /// What is observed is not what is desired.
    Drift,
    /// A runtime was lost and did not come back.
    RuntimeLost,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Flapping, Self::Unhealthy, Self::Drift, Self::RuntimeLost];

    /// The name used in configuration and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flapping => "flapping",
            Self::Unhealthy => "unhealthy",
            Self::Drift => "drift",
            Self::RuntimeLost => "runtime-lost",
        }
    }
}

/// How many restarts within how long are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flapping {
    /// So many.
    pub restarts: u32,
    /// Within this time.
    pub within: Duration,
}

impl Default for Flapping {
    fn default() -> Self {
        Self { restarts: 5, within: Duration::from_secs(600) }
    }
}

/// When to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Of what.
    pub on: BTreeSet<Kind>,
    /// Only of this service.
    pub service: Option<String>,
    /// Time for which the same is not told again of the same workload or runtime.
    pub cooldown: Duration,
    /// What flapping is.
    pub flapping: Flapping,
    /// Time that a runtime has to come back.
    pub lost_after: Duration,
}

impl Rule {
    /// Whether it is to tell of this, as far as kind and service go.
    pub(super) fn wants(&self, kind: Kind, service: Option<&str>) -> bool {
        self.on.contains(&kind) && self.service.as_deref().is_none_or(|only| Some(only) == service)
    }
}

/// What somebody is to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Position of the rule that decided so.
    pub rule: usize,
    /// Of what.
    pub kind: Kind,
    /// Name of the workload, or of the runtime.
    pub subject: String,
    /// It in a sentence.
    pub message: String,
    /// When it was decided.
    pub time: Timestamp,
    /// The event that led to it.
    pub event: EventRecord,
}
