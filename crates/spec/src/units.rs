//! Quantities with their units in the type: bytes, millicores, milliseconds.
//!
//! Each parses the forms that Docker, Podman and Compose users write and serialises as a plain number.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a string is not a value of the type asked for; the text says what was wrong, without the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// What is wrong, lower case, no final period.
    pub message: String,
    /// What to write instead, where that is known.
    pub hint: Option<String>,
}

impl ParseError {
    /// An error without a hint.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// The same error with advice on what to write instead.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The largest size that a limit may have, 1 EiB: near the end of its own range the kernel takes a limit for none.
pub const MAX_SIZE: u64 = 1 << 60;
/// The most cores that Linux can be built for, in thousandths: more would be no limit.
pub const MAX_MILLICORES: u64 = 8192 * 1000;
/// The most processes that Linux can be told to allow (`PID_MAX_LIMIT`).
pub const MAX_PIDS: u32 = 1 << 22;
/// The longest duration, ten years: every engine and every clock can add it to the present.
pub const MAX_MILLIS: u64 = 87_600 * 3_600_000;

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

/// Processor time in thousandths of a core: 1500 is one and a half cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Millicores(pub u64);

/// A duration in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// As a standard duration.
    pub const fn duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }

    /// Whole seconds, rounded up.
    pub const fn seconds(self) -> u64 {
        self.0.div_ceil(1000)
    }
}
