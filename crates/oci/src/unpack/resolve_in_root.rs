//! Reading files of a directory whose links may lead anywhere.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// A directory; what is opened in it is in it.
pub(crate) struct Folder {
    directory: OwnedFd,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { directory: rustix::fs::openat(CWD, path, flags, Mode::empty())? })
    }

    /// A regular file; `None` where there is nothing of that name.
    pub(crate) fn file(&self, path: &Path) -> io::Result<Option<File>> {
        // A pipe must not make the reader wait.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file = match hythe_host::openat2(&self.directory, path, flags, Mode::empty(), inside) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            opened => File::from(opened?),
        };
        if file.metadata()?.is_file() { Ok(Some(file)) } else { Err(io::Error::other("it is not a regular file")) }
    }
}
