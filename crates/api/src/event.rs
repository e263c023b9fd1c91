//! The one ordered stream of events.

use hythe_spec::vocabulary::{EventKind, OpenEnum};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One event; the cursor is the SSE `id`, so `Last-Event-ID` resumes after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Position, counting up without reuse.
    pub cursor: u64,
    /// When it happened.
    pub time: Timestamp,
    /// Runtime it happened on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub runtime: Option<String>,
    /// Service it concerns.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub service: Option<String>,
    /// Workload it concerns.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub workload: Option<String>,
    /// What happened.
    pub kind: OpenEnum<EventKind>,
    /// The event in a sentence.
    pub message: String,
    /// Facts of the event: exit code, instance, generation.
    pub details: serde_json::Value,
}

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EventQuery {
    /// Only events after this cursor; absent: only new ones when following, else all kept.
    pub after: Option<u64>,
    /// Only this service.
    pub service: Option<String>,
    /// Only this workload.
    pub workload: Option<String>,
    /// Go on with what happens from now (SSE); else a JSON list.
    pub follow: bool,
    /// At most so many of the newest, without `follow`.
    pub limit: Option<u32>,
}
