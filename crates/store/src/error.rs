//! Why the store could not do what was asked.

use std::path::PathBuf;

/// Result with the store's error.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file was written by a newer Hythe; nothing was changed.
    #[error("`{path}` has schema {found}, this version knows {known}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest schema this version knows.
        known: i64,
    },
    /// Another agent has the file open.
    #[error("`{path}` is used by another agent")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full; nothing was changed.
    #[error("the disk with the store is full")]
    Full(#[source] rusqlite::Error),
    /// What is left on the disk is kept for what runs already.
    #[error("only {} KiB are free on the disk with the store", .free / 1024)]
    Low {
        /// Bytes that are free.
        free: u64,
    },
    /// The directory or file cannot be used.
    #[error("`{path}` cannot be used")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A row holds what this version cannot read.
    #[error("a record of the store cannot be read")]
    Record(#[from] serde_json::Error),
    /// Anything else that SQLite reports.
    #[error("the store failed")]
    Sqlite(#[source] rusqlite::Error),
}

impl Error {
    /// The disk takes no more or fails: the same write may succeed later.
    pub fn is_of_the_disk(&self) -> bool {
        use rusqlite::ErrorCode::{CannotOpen, ReadOnly, SystemIoFailure};
        match self {
            Self::Full(_) | Self::Low { .. } | Self::Io { .. } => true,
            Self::Sqlite(error) => {
                matches!(error.sqlite_error_code(), Some(SystemIoFailure | ReadOnly | CannotOpen))
            }
            Self::Newer { .. } | Self::Locked { .. } | Self::Record(_) => false,
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full(error),
            _ => Self::Sqlite(error),
        }
    }
}
