//! Errors of the driver in the words of the image store; those of the system, the store and the shim are in `hythe_local`.

use hythe_oci::Kind;
use hythe_runtime::{Error, ErrorKind};

pub(crate) use hythe_local::{IoContext, from_shim, of_store};

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
