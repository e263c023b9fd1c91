//! Runtimes of the agent.

use hythe_spec::{Isolation, RuntimeKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One row of `GET /v1/runtimes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Runtime {
    /// Its name in the agent's configuration.
    pub name: String,
    /// Its kind.
    pub kind: RuntimeKind,
    /// It answers.
    pub healthy: bool,
    /// Why it does not answer, every endpoint tried named.
    pub error: Option<String>,
    /// Program or socket behind it.
    pub endpoint: Option<String>,
    /// Engine that answers: `docker`, `podman`.
    pub engine: Option<String>,
    /// The engine's version.
    pub version: Option<String>,
    /// It runs without root's rights.
    pub rootless: bool,
    /// What separates its workloads from the host; absent while it does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// What works but should be known.
    pub warnings: Vec<String>,
    /// Optional operations it has: `images`, `logs`, `exec`, `stats`, `networks`, `volumes`.
    pub facets: Vec<String>,
    /// Which parts of a component it can honour.
    pub features: Vec<FeatureSupport>,
}

/// Support of one feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeatureSupport {
    /// Its name: `publish-udp`.
    pub feature: String,
    /// In words.
    pub description: String,
    /// It can be honoured.
    pub supported: bool,
    /// Why not.
    pub reason: Option<String>,
}
