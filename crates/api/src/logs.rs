//! Logs as they cross the wire (SSE event `line`; the stream ends with an SSE event `end`, or `problem` with a [`crate::Problem`]).

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which lines (query of `GET /v1/workloads/{name}/logs`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LogQuery {
    /// Only the last so many; absent: all.
    pub tail: Option<u64>,
    /// Only lines written at or after this.
    pub since: Option<Timestamp>,
    /// Only lines written before this.
    pub until: Option<Timestamp>,
    /// Go on until the instance ends.
    pub follow: bool,
}

/// Output stream of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StdStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line, or a part of one that is longer than a mebibyte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// Stream it was written to.
    pub stream: StdStream,
    /// When it was written, where the engine keeps that.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub time: Option<Timestamp>,
    /// Its text without the line feed, where it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    /// Its bytes in base64, where it is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub base64: Option<String>,
    /// A line feed followed.
    pub terminated: bool,
    /// The line was longer than a mebibyte: the next part is the next line of this stream. A tail counts a line once.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub partial: bool,
    /// Lines before it are missing: they were rotated away before they were read. Only the embedded runtime knows.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub after_gap: bool,
}
