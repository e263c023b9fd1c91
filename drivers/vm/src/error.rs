//! Errors of guests in the words of the seam; those of the system, the store and the supervisor are in `hythe_local`.

use hythe_guest::GuestError;
use hythe_runtime::{Error, ErrorKind};

pub(crate) use hythe_local::{IoContext, of_store};

/// What the maker of disks and initrds says.
pub(crate) fn of_guest(operation: &'static str) -> impl Fn(GuestError) -> Error {
    move |error| {
        let (kind, hint) = match &error {
            GuestError::NoKernel(_) | GuestError::NoModule { .. } | GuestError::Damaged { .. } => (
                ErrorKind::Unavailable,
                Some(
                    "set `kernel` to a directory that a kernel package was unpacked to (Debian: `linux-image-cloud-amd64`)",
                ),
            ),
            GuestError::Layer { .. } | GuestError::Invalid(_) => (ErrorKind::Invalid, None),
            GuestError::TooSmall { .. } => {
                (ErrorKind::Invalid, Some("raise `disk_size` in the runtime's configuration"))
            }
            GuestError::UnsupportedPlatform => (ErrorKind::Unsupported, None),
            GuestError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                (ErrorKind::Exhausted, Some("free space on the disk of the runtime's `root`"))
            }
            _ => (ErrorKind::Unavailable, None),
        };
        let told = Error::new(kind, operation, error.to_string()).source(error);
        match hint {
            Some(hint) => told.hint(hint),
            None => told,
        }
    }
}
