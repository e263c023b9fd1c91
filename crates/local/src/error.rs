//! Errors of the system, the image store and the shim in the words of the seam.

use std::fmt;
use std::io;

use hythe_runtime::{Error, ErrorKind, Result};
use hythe_shim::{ShimError, ShimErrorKind};

/// Errors of files and processes, with what was being done.
pub trait IoContext<T> {
    /// `what` finishes "cannot".
    ///
    /// # Errors
    /// The same, said so: `Exhausted` or `Unavailable`.
    fn context(self, operation: &'static str, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<io::Error>> IoContext<T> for std::result::Result<T, E> {
    fn context(self, operation: &'static str, what: impl fmt::Display) -> Result<T> {
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
pub fn from_shim(operation: &'static str, fault: &ShimError) -> Error {
    let kind = match fault.kind {
        ShimErrorKind::NotFound => ErrorKind::NotFound,
        ShimErrorKind::Invalid => ErrorKind::Invalid,
        ShimErrorKind::Conflict => ErrorKind::Conflict,
        ShimErrorKind::Unsupported => ErrorKind::Unsupported,
        ShimErrorKind::Unauthorized => ErrorKind::Unauthorized,
        ShimErrorKind::Exhausted => ErrorKind::Exhausted,
        ShimErrorKind::Internal => ErrorKind::Internal,
    };
    let error = Error::new(kind, operation, fault.message.clone());
    match (&fault.hint, fault.code) {
        (Some(hint), _) => error.hint(hint.clone()),
        (None, Some(_)) => error.hint("check the command and entrypoint against the files of the image"),
        (None, None) => error,
    }
}

/// What the image store says.
pub fn of_store(operation: &'static str) -> impl Fn(hythe_oci::Error) -> Error {
    move |error| {
        let told = Error::new(error.kind().into(), operation, error.to_string());
        let told = match error.next_step() {
            Some(hint) => told.hint(hint),
            None => told,
        };
        told.source(error)
    }
}
