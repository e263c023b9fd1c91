//! Errors of the system, the image store and the shim in the vocabulary of the seam.

use std::fmt;
use std::io;

use hythe_oci::Kind;
use hythe_runtime::{Error, ErrorKind, OpContext, Result};
use hythe_shim::{Fault, FaultKind};

/// Errors of files and processes, told with what was done.
pub(crate) trait Doing<T> {
    /// `what` finishes "cannot".
    fn doing(self, operation: &'static str, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, operation: &'static str, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| {
            let error = error.into();
            let kind = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory => {
                    ErrorKind::Exhausted
                }
                _ => ErrorKind::Unavailable,
            };
            Error::new(kind, operation, format!("cannot {what}: {error}")).source(error)
        })
    }
}

/// What a shim says.
pub(crate) fn of_fault(operation: &'static str, fault: &Fault) -> Error {
    let kind = match fault.kind {
        FaultKind::NotFound => ErrorKind::NotFound,
        FaultKind::Invalid => ErrorKind::Invalid,
        FaultKind::Conflict => ErrorKind::Conflict,
        FaultKind::Unsupported => ErrorKind::Unsupported,
        FaultKind::Unauthorized => ErrorKind::Unauthorized,
        FaultKind::Exhausted => ErrorKind::Exhausted,
        FaultKind::Internal => ErrorKind::Internal,
    };
    let error = Error::new(kind, operation, fault.message.clone());
    match fault.code {
        Some(_) => error.hint("check the command and entrypoint against what the image holds"),
        None => error,
    }
}

/// What the driver says inside a shim.
pub(crate) fn to_fault(error: &Error) -> Fault {
    let kind = match error.kind() {
        ErrorKind::NotFound => FaultKind::NotFound,
        ErrorKind::Invalid => FaultKind::Invalid,
        ErrorKind::Conflict | ErrorKind::AlreadyExists => FaultKind::Conflict,
        ErrorKind::Unsupported => FaultKind::Unsupported,
        ErrorKind::Unauthorized => FaultKind::Unauthorized,
        ErrorKind::Exhausted => FaultKind::Exhausted,
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Cancelled | ErrorKind::Internal => FaultKind::Internal,
    };
    Fault::new(kind, error.message())
}

/// What the image store says.
pub(crate) fn of_store(operation: &'static str) -> impl Fn(hythe_oci::Error) -> Error {
    move |error| {
        let kind = match error.kind() {
            Kind::NotFound => ErrorKind::NotFound,
            Kind::Unauthorized => ErrorKind::Unauthorized,
            Kind::Unavailable => ErrorKind::Unavailable,
            Kind::Invalid => ErrorKind::Invalid,
            Kind::Exhausted => ErrorKind::Exhausted,
            Kind::Internal => ErrorKind::Internal,
        };
        let told = Error::new(kind, operation, error.to_string());
        let told = match error.next_step() {
            Some(hint) => told.hint(hint),
            None => told,
        };
        told.source(error)
    }
}

/// What the driver says in the place of the image store.
pub(crate) fn to_store(error: &Error) -> hythe_oci::Error {
    let kind = match error.kind() {
        ErrorKind::NotFound => Kind::NotFound,
        ErrorKind::Unavailable => Kind::Unavailable,
        ErrorKind::Invalid => Kind::Invalid,
        ErrorKind::Exhausted => Kind::Exhausted,
        _ => Kind::Internal,
    };
    let told = hythe_oci::Error::new(kind, error.message());
    match error.next_step() {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

/// Waits as long as the context says.
pub(crate) async fn bounded<T>(
    cx: &OpContext,
    operation: &'static str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    cx.bounded(operation, "it was not done in time", work).await
}

/// As [`bounded`], carried to its end even when nobody waits any more, so that nothing is left halfway.
pub(crate) async fn carried<T: Send + 'static>(
    cx: &OpContext,
    operation: &'static str,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let task = tokio::spawn(work);
    bounded(cx, operation, async { task.await.unwrap_or_else(|error| Err(died(operation, error))) }).await
}

/// Does what blocks where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(died(operation, error)))
}

fn died(operation: &'static str, error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Internal, operation, "the call ended early").source(error)
}
