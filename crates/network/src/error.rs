//! What the kernel and the file system say, in the words of the seam.

use std::io;

use hythe_runtime::{Error, ErrorKind};
use nix::libc;

/// An error of the kernel about something of ours.
pub(super) fn kernel(operation: &'static str, what: impl std::fmt::Display, error: io::Error) -> Error {
    let (kind, why) = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => (ErrorKind::Unsupported, " because CAP_NET_ADMIN is missing"),
        Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => {
            (ErrorKind::Unsupported, " because the kernel has no support for it")
        }
        Some(libc::ENOSPC | libc::ENOMEM | libc::ENOBUFS | libc::EMFILE | libc::ENFILE | libc::EXFULL) => {
            (ErrorKind::Exhausted, "")
        }
        _ => (ErrorKind::Internal, ""),
    };
    let wrong = if kind == ErrorKind::Unsupported { "unsupported" } else { "failed" };
    let made = Error::new(kind, operation, format!("{what} {wrong}{why}: {error}")).source(error);
    match kind {
        ErrorKind::Unsupported => made.hint("use `network = \"host\"` or `\"none\"`, or another runtime"),
        _ => made,
    }
}

/// An error of one of our files.
pub(super) fn file(operation: &'static str, path: &std::path::Path, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, operation, format!("`{}`: {error}", path.display())).source(error)
}

/// Success also where the kernel says that one thing, as it does where the work was done before.
pub(super) fn unless(code: i32, done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.raw_os_error() == Some(code) => Ok(()),
        done => done,
    }
}
