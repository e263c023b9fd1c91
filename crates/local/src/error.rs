//! Errors of the system in the words of the seam.

use std::fmt;
use std::io;

use hythe_runtime::{Error, ErrorKind, Result};

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
