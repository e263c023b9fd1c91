//! The disk of the store: what is left of it for others while images come in.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::Store;
use crate::error::Local as _;
use crate::{Error, Kind};

/// Bytes that are written between two looks at the disk.
const STEP: u64 = 8 << 20;
/// At most so much is kept free, on any disk.
const RESERVE: u64 = 1 << 30;
/// One part in so many is kept free, of space and of inodes.
const SHARE: u64 = 20;

/// How many bytes may be written into a directory until the reserve is reached; `None` where it is reached already.
fn room(directory: &Path) -> io::Result<Option<u64>> {
    let found = rustix::fs::statvfs(directory)?;
    let unit = found.f_frsize.max(1);
    let reserve = (found.f_blocks.saturating_mul(unit) / SHARE).min(RESERVE);
    // Some file systems have no fixed number of inodes and say none.
    let lacks_inodes = found.f_files > 0 && found.f_favail < (found.f_files / SHARE).min(10_000);
    let bytes = found.f_bavail.saturating_mul(unit).checked_sub(reserve);
    Ok(bytes.filter(|_| !lacks_inodes))
}

/// Asked before bytes are written; an error where they would eat into the reserve.
#[derive(Debug)]
pub(crate) struct Space {
    directory: PathBuf,
    left: u64,
}

impl Space {
    pub(crate) fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), left: 0 }
    }

    pub(crate) fn take(&mut self, bytes: u64) -> io::Result<()> {
        if self.left < bytes {
            let room = room(&self.directory)?.unwrap_or(0);
            if room < bytes {
                return Err(Errno::NOSPC.into());
            }
            self.left = room.min(STEP.max(bytes));
        }
        self.left -= bytes;
        Ok(())
    }
}

/// Writes within the room that there is.
pub(crate) struct Bounded<W> {
    inner: W,
    space: Space,
}

impl<W: Write> Bounded<W> {
    pub(crate) fn new(inner: W, space: Space) -> Self {
        Self { inner, space }
    }

    pub(crate) fn get_ref(&self) -> &W {
        &self.inner
    }
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.space.take(bytes.len() as u64)?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Store {
    pub(crate) fn space(&self) -> Space {
        Space::of(self.root())
    }

    /// Refuses what is known not to fit before any of it is written.
    pub(crate) fn check_room(&self, needed: u64, what: &str) -> Result<(), Error> {
        let room = room(self.root()).local("look at the disk of", self.root())?.unwrap_or(0);
        if needed <= room {
            return Ok(());
        }
        let message = format!("{what} needs {needed} bytes more, and the disk of the image store has {room} free");
        Err(Error::new(Kind::Exhausted, message).hint(crate::error::FREE_SOME))
    }
}
