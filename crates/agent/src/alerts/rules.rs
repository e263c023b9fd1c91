//! Rules, and the alerts they give.

use std::collections::BTreeSet;
use std::time::Duration;

use hythe_store::EventRecord;
use jiff::Timestamp;

/// Kind of alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
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
    pub(crate) const ALL: [Self; 4] = [Self::Flapping, Self::Unhealthy, Self::Drift, Self::RuntimeLost];

    /// The name used in configuration and on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
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
pub(crate) struct Flapping {
    /// So many.
    pub(crate) restarts: u32,
    /// Within this time.
    pub(crate) within: Duration,
}

impl Default for Flapping {
    fn default() -> Self {
        Self { restarts: 5, within: Duration::from_secs(600) }
    }
}

/// When to alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Of what.
    pub(crate) on: BTreeSet<Kind>,
    /// Only of this service.
    pub(crate) service: Option<String>,
    /// Time before the same alert about the same workload or runtime is given again.
    pub(crate) cooldown: Duration,
    /// What flapping is.
    pub(crate) flapping: Flapping,
    /// Time that a runtime has to come back.
    pub(crate) lost_after: Duration,
}

impl Rule {
    /// Whether it applies, as far as kind and service go.
    pub(super) fn wants(&self, kind: Kind, service: Option<&str>) -> bool {
        self.on.contains(&kind) && self.service.as_deref().is_none_or(|only| Some(only) == service)
    }
}

/// One alert.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Alert {
    /// Position of the rule that decided so.
    pub(crate) rule: usize,
    /// Of what.
    pub(crate) kind: Kind,
    /// Name of the workload, or of the runtime.
    pub(crate) subject: String,
    /// It in a sentence.
    pub(crate) message: String,
    /// When it was decided.
    pub(crate) time: Timestamp,
    /// The event that led to it.
    pub(crate) event: EventRecord,
}
