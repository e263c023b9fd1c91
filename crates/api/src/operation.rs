//! Long work: listed, joined late by a second client, cancelled.

use hythe_spec::vocabulary::{OpenEnum, OperationKind, OperationState, ProgressPhase};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Problem;

/// A piece of long work the agent does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Operation {
    /// Its id.
    pub id: String,
    /// What it does.
    pub kind: OpenEnum<OperationKind>,
    /// The service, workload or image it is about.
    pub subject: String,
    /// How far it is.
    pub state: OperationState,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<Problem>,
    /// Its result, where it has one: a built image's id, a pulled image, a snapshot.
    pub result: Option<serde_json::Value>,
}

/// One report of progress (SSE event `progress`); the stream ends with an SSE event `done` whose data is the [`Operation`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// Workload it concerns.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub workload: Option<String>,
    /// Phase.
    pub phase: OpenEnum<ProgressPhase>,
    /// Part of the phase: a layer, a build step.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub item: String,
    /// What is being done, for people.
    pub message: String,
    /// Bytes done.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub current: Option<u64>,
    /// Bytes in all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub total: Option<u64>,
}
