//! Health of the agent as a whole.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `GET /healthz` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// How it is.
    pub status: Condition,
    /// Why it is not well; empty: it is.
    pub reasons: Vec<HealthReason>,
}

/// How an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It does all it is asked.
    Ok,
    /// It can be read; some or all requests are refused.
    Degraded,
}

/// Something that keeps an agent from doing its work in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthReason {
    /// What it is about: `store`, or `runtime` and its name.
    pub subject: String,
    /// What is wrong.
    pub message: String,
}
