//! Errors of the store, as callers of the controller see them.

use hythe_runtime::{Error, ErrorKind};

/// What to do about a disk that takes no more.
const FREE_SPACE: &str = "free space on the disk with the agent's state directory, which `hythe version` names; what runs goes on, and the agent recovers by itself";

/// An error of the store as callers see it.
pub(crate) fn store_error(error: hythe_store::Error) -> Error {
    use hythe_store::Error::{Full, Low};
    let kind = match error {
        Full(_) | Low { .. } => ErrorKind::Exhausted,
        _ if error.is_of_the_disk() => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    };
    let failed = Error::new(kind, "store", error.to_string());
    let failed = if error.is_of_the_disk() { failed.hint(FREE_SPACE) } else { failed };
    failed.source(error)
}
