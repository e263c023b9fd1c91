//! Why a container could not be started, as it is recorded and told.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

/// What went wrong, in the vocabulary that callers act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShimErrorKind {
    /// Something it needs does not exist.
    NotFound,
    /// The request is wrong and stays wrong.
    Invalid,
    /// Something is in a state that forbids it: a port taken, not running.
    Conflict,
    /// This host cannot do it.
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
pub struct ShimError {
    /// What went wrong.
    pub kind: ShimErrorKind,
    /// Lower case, names the thing, keeps the system's words.
    pub message: String,
    /// Exit code that stands for it: 126 or 127 where a command could not be executed.
    pub code: Option<i32>,
    /// What the user can do about it; programs of before have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl ShimError {
    /// An error of a kind.
    pub fn new(kind: ShimErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), code: None, hint: None }
    }

    /// The same with a next step.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ShimErrorKind::Invalid, message)
    }
}

/// Errors of the system, told with what was done.
pub trait Doing<T> {
    /// `what` finishes "cannot".
    ///
    /// # Errors
    /// The same, said so.
    fn doing(self, what: impl fmt::Display) -> Result<T, ShimError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T, ShimError> {
        self.map_err(|error| {
            let error = error.into();
            let kind = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory => {
                    ShimErrorKind::Exhausted
                }
                io::ErrorKind::Unsupported => ShimErrorKind::Unsupported,
                _ => ShimErrorKind::Internal,
            };
            ShimError::new(kind, format!("cannot {what}: {error}"))
        })
    }
}
