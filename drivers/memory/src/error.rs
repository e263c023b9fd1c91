//! Errors that several parts of the driver make.

use hythe_runtime::{Error, ErrorKind};

use crate::instance::Instance;

/// `what` is its kind.
pub(crate) fn missing(operation: &'static str, what: &str, name: &str) -> Error {
    Error::new(ErrorKind::NotFound, operation, format!("no {what} `{name}`"))
}

pub(crate) fn not_running(operation: &'static str, instance: &Instance) -> Error {
    Error::new(ErrorKind::Conflict, operation, format!("instance `{}` does not run", instance.name))
}

pub(crate) fn unavailable(operation: &'static str, reason: &str) -> Error {
    Error::new(ErrorKind::Unavailable, operation, format!("the engine does not answer: {reason}"))
}

pub(crate) fn process_lost(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, operation, "the process was lost")
}
