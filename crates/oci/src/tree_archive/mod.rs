//! Files as a tar stream, and back: what copies files into and out of instances, volumes and this host's directories.
//!
//! Names in an archive are relative to what was read: a directory is `./` and what is below it `a/b`; anything else is one
//! entry of its own name. Owners, modes, times, attributes, hard and symbolic links are kept. Sockets and device nodes are
//! left out: an archive must not decide what of a host a program can open. Files with holes are written whole, and have
//! holes again once they are extracted.
//!
//! The tree may be hostile and may change meanwhile: paths are resolved below a root, magic links are refused, and neither
//! reading nor writing follows a link that it meets below the path that was asked for.

mod extract;
mod locate;
mod names;
mod pass;
mod read;

#[cfg(test)]
mod tests;

pub use extract::{Extract, extract};
pub use locate::{Kind, PathInfo, look};
pub use pass::{Pass, pass};
pub use read::{Named, Read, read};

use std::path::Path;

use rustix::io::Errno;

use crate::error::FREE_SOME;
use crate::unpack::Failure;
use crate::{Error, Kind as ErrorKind};

/// What went through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes in regular files.
    pub bytes: u64,
}

/// The owner that files get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// As in the archive or on the disk.
    Kept,
    /// User and group.
    As(u32, u32),
}

impl Owner {
    fn of(self, meta: &mut crate::unpack::Meta) {
        if let Self::As(uid, gid) = self {
            (meta.uid, meta.gid) = (uid, gid);
        }
    }
}

fn failed(verb: &str, path: &Path, errno: Errno) -> Error {
    let shown = path.display();
    let message = format!("cannot {verb} `{shown}`: {}", std::io::Error::from(errno));
    match errno {
        Errno::NOENT => Error::new(ErrorKind::NotFound, format!("`{shown}` does not exist")),
        Errno::NOTDIR => Error::new(ErrorKind::Invalid, format!("`{shown}` is not a directory, or is below a file")),
        Errno::LOOP | Errno::XDEV => {
            Error::new(ErrorKind::Invalid, format!("`{shown}` leads through a link that cannot be followed"))
        }
        Errno::NAMETOOLONG | Errno::INVAL => Error::new(ErrorKind::Invalid, message),
        Errno::NOSPC | Errno::DQUOT => Error::new(ErrorKind::Exhausted, message).hint(FREE_SOME),
        Errno::ROFS => Error::new(ErrorKind::Conflict, format!("`{shown}` is on a read-only file system")),
        Errno::BUSY => Error::new(ErrorKind::Conflict, format!("`{shown}` is a mount and cannot be replaced")),
        Errno::ACCESS | Errno::PERM => Error::new(ErrorKind::Unauthorized, message),
        _ => Error::new(ErrorKind::Internal, message),
    }
}

/// What the reader of an archive says.
fn of_archive(failure: Failure) -> Error {
    let invalid = |why: String| Error::new(ErrorKind::Invalid, format!("the archive {why}"));
    match failure {
        Failure::Stream(error) => invalid(format!("cannot be read: {error}")),
        Failure::Entry(path, why) => {
            invalid(format!("has an entry `{}` that cannot be extracted: {why}", path.display()))
        }
        Failure::System(path, errno) => failed("extract", &path, errno),
        Failure::TooManyEntries => invalid("has too many entries".to_owned()),
        Failure::OversizedHeaders => invalid("has an entry with oversized headers".to_owned()),
        Failure::TooLarge(path, size) => invalid(format!("has a file `{}` of {size} bytes", path.display())),
    }
}
