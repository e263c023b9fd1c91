//! Why a container could not be started, as it is recorded and told.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

/// What went wrong, in the vocabulary that callers act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// Something it needs does not exist.
    NotFound,
    /// The request is wrong and stays wrong.
    Invalid,
    /// Something is in a state that forbids it: a port taken, not running.
    Conflict,
    /// This machine cannot do it.
    Unsupported,
    /// The right for it is missing.
    Unauthorized,
    /// A resource ran out.
    Exhausted,
    /// Anything else.
    Internal,
}

/// An error of the shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What went wrong.
    pub kind: FaultKind,
    /// Lower case, names the thing, keeps the system's words.
    pub message: String,
    /// Exit code that stands for it: 126 or 127 where a command could not be executed.
    pub code: Option<i32>,
}

impl Fault {
    /// An error of a kind.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), code: None }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Invalid, message)
    }
}

/// Errors of the system, told with what was done.
pub(crate) trait Doing<T> {
    /// `what` finishes "cannot".
    fn doing(self, what: impl fmt::Display) -> Result<T, Fault>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T, Fault> {
        self.map_err(|error| {
            let error = error.into();
            let kind = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory => {
                    FaultKind::Exhausted
                }
                io::ErrorKind::Unsupported => FaultKind::Unsupported,
                _ => FaultKind::Internal,
            };
            Fault::new(kind, format!("cannot {what}: {error}"))
        })
    }
}
