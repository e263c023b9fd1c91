//! Errors on the wire: `application/problem+json` (RFC 9457) with a kind and a hint.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Machine-readable kind: `not-found`, `already-exists`, `unsupported`, `invalid`, `conflict`, `unauthorized`, `unavailable`,
    /// `timeout`, `exhausted`, `cancelled`, `read-only`, `unauthenticated`, `forbidden`, `too-large`, `internal`.
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened, naming the thing; the engine's own words are in it.
    pub detail: String,
    /// The next step.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    /// Every single fault of an invalid service.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub problems: Vec<FieldProblem>,
}

/// One fault of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldProblem {
    /// Where: `components[0].ports[1]`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// The next step.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}
