//! The working directory of a process, resolved inside the container below its root.
//!
//! The path comes from an image: no link of `/proc` is followed, since one may lead to what this process still has open of the host
//! (CVE-2024-21626), and what was entered is looked at once more before anything is executed there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use hythe_host::openat2;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, open};
use rustix::io::Errno;
use rustix::process::{fchdir, getcwd};

use crate::ShimError;

/// Enters a directory; where `make` is set, what is missing of it is made first.
pub(crate) fn enter(path: &str, make: bool) -> Result<(), ShimError> {
    let unusable = |why: &dyn std::fmt::Display| {
        // As a shell says that it cannot execute something.
        ShimError { code: Some(126), ..ShimError::invalid(format!("cannot use the working directory `{path}`: {why}")) }
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open("/", flags, Mode::empty()).map_err(|error| unusable(&error))?;
    let directory = match below(root.as_fd(), Path::new(path)) {
        Err(Errno::NOENT) if make => made(root.as_fd(), path),
        found => found,
    };
    let directory = directory.map_err(|error| match error {
        Errno::LOOP | Errno::XDEV if is_circle(root.as_fd(), Path::new(path)) => {
            unusable(&"its links lead in a circle")
        }
        Errno::LOOP | Errno::XDEV => unusable(&"it leads through a link of `/proc`"),
        Errno::NOENT => unusable(&"no such directory"),
        Errno::NOTDIR => unusable(&"not a directory"),
        error => unusable(&error),
    })?;
    fchdir(&directory).map_err(|error| unusable(&error))?;
    if is_below_root() { Ok(()) } else { Err(unusable(&"it is outside of the container")) }
}

/// The kernel gives `(unreachable)…` for a directory that is not below the root.
fn is_below_root() -> bool {
    getcwd(Vec::new()).is_ok_and(|path| path.as_bytes().starts_with(b"/"))
}

fn below(root: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// The kernel refuses a path below a root by another error where it leads through a link of `/proc`.
fn is_circle(root: BorrowedFd<'_>, path: &Path) -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    matches!(openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT), Err(Errno::LOOP))
}

fn made(root: BorrowedFd<'_>, path: &str) -> rustix::io::Result<OwnedFd> {
    let mut reached = PathBuf::from("/");
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => {
                let next = reached.join(name);
                if below(root, &next).is_err() {
                    match mkdirat(below(root, &reached)?, name, Mode::from_raw_mode(0o755)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error),
                    }
                }
                reached = next;
            }
            Component::ParentDir => reached.push(".."),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    below(root, &reached)
}

/// Whether a program's path leads through a link of `/proc` to this file: `/proc/self/exe` is the runtime's own program until another is executed.
pub(crate) fn leads_to(path: &str, (device, inode): (u64, u64)) -> bool {
    use std::os::unix::fs::MetadataExt;
    let linked = openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_MAGICLINKS);
    matches!(linked, Err(Errno::LOOP))
        && std::fs::metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == (device, inode))
}
