//! Removing trees that archives made: as deep as they like, closed to their owner, full of links.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::Errno;

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const OWNER: Mode = Mode::RWXU;

/// Removes a directory and all below it, however deep and closed to its owner it is; one that is absent is removed.
///
/// # Errors
/// The disk, or what belongs to somebody else.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match remove_directory(CWD, path.as_os_str()) {
        Err(Errno::NOENT) => Ok(()),
        removed => Ok(removed?),
    }
}

/// Never follows a link, and holds two directories open, however deep the tree is: what is in a subdirectory is moved up, so that the depth never grows.
pub(crate) fn remove_directory(parent: impl AsFd, name: &OsStr) -> Result<(), Errno> {
    let directory = open(parent.as_fd(), name)?;
    let mut next = 0;
    loop {
        let names = names(&directory)?;
        if names.is_empty() {
            return rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR);
        }
        for child in names {
            match rustix::fs::unlinkat(&directory, &child, AtFlags::empty()) {
                Err(Errno::ISDIR) => dissolve(&directory, &child, &mut next)?,
                removed => removed?,
            }
        }
    }
}

/// Moves a directory's subdirectories beside it, and removes its files and itself.
fn dissolve(above: &OwnedFd, name: &OsStr, next: &mut u64) -> Result<(), Errno> {
    let directory = open(above.as_fd(), name)?;
    for child in names(&directory)? {
        match rustix::fs::unlinkat(&directory, &child, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                make_mine(directory.as_fd(), &child);
                rustix::fs::renameat(&directory, &child, above, free_name(above, next))?;
            }
            removed => removed?,
        }
    }
    rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR)
}

fn free_name(directory: &OwnedFd, next: &mut u64) -> String {
    loop {
        let name = format!(".hythe-removing-{next}");
        *next += 1;
        if rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW).is_err() {
            return name;
        }
    }
}

fn open(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    make_mine(parent, name);
    rustix::fs::openat(parent, name, OPEN, Mode::empty())
}

/// An unprivileged user needs the bits that an archive may have taken away; where that fails, the next call tells.
fn make_mine(parent: BorrowedFd<'_>, name: &OsStr) {
    if !rustix::process::geteuid().is_root() {
        rustix::fs::chmodat(parent, name, OWNER, AtFlags::empty()).ok();
    }
}

fn names(directory: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
        }
    }
    Ok(names)
}
