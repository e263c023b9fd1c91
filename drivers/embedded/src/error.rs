//! Errors of the system, the image store and the shim in the vocabulary of the seam.

pub(crate) use hythe_local::IoContext;
use hythe_oci::Kind;
use hythe_runtime::{Error, ErrorKind};
use hythe_shim::{ShimError, ShimErrorKind};

/// What a shim says.
pub(crate) fn from_shim(operation: &'static str, fault: &ShimError) -> Error {
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
pub(crate) fn of_store(operation: &'static str) -> impl Fn(hythe_oci::Error) -> Error {
    move |error| {
        let told = Error::new(error.kind().into(), operation, error.to_string());
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
