//! Paths of an untrusted tree, resolved below its root.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::{ErrorKind, failed};
use crate::Error;

pub(super) const HANDLE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Where the kernel shows itself; never read, never written.
const OF_THE_KERNEL: [u64; 9] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x1cd1,      // devpts
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0xcafe_4a11, // bpf
];

/// What kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Regular.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// A pipe, socket or device.
    Other,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInfo {
    /// What kind of file.
    pub kind: Kind,
    /// Size in bytes.
    pub size: u64,
    /// Permissions, the lowest twelve bits of the mode.
    pub mode: u32,
    /// Where a symbolic link leads to.
    pub target: Option<PathBuf>,
}

/// A directory and a name in it; the name `.` is the directory itself.
pub(super) struct Located {
    pub(super) parent: Rc<OwnedFd>,
    pub(super) name: OsString,
}

/// Finds an absolute path below a root as a program would that has it as its root. The last component is only followed
/// where a slash is behind it.
pub(super) fn locate(root: impl AsFd, path: &Path) -> Result<Located, Error> {
    let raw = path.as_os_str().as_bytes();
    let is_directory = raw.ends_with(b"/") || raw.ends_with(b"/.") || path.file_name().is_none();
    let (parent, name) = match path.file_name().filter(|_| !is_directory) {
        Some(name) => (path.parent().unwrap_or(Path::new("/")), name),
        None => (path, OsStr::new(".")),
    };
    let parent = open(root, parent).map_err(|errno| failed("open", path, errno))?;
    refuse_kernels(&parent, path)?;
    Ok(Located { parent: Rc::new(parent), name: name.to_owned() })
}

/// An existing directory, through links but never outside the root.
fn open(root: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let below = path.strip_prefix("/").unwrap_or(path);
    let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    hythe_host::openat2(root, below, HANDLE, Mode::empty(), inside)
}

pub(super) fn is_kernels(directory: impl AsFd) -> bool {
    rustix::fs::fstatfs(directory).is_ok_and(|found| {
        let magic = u64::try_from(found.f_type).unwrap_or_default() & 0xffff_ffff;
        OF_THE_KERNEL.contains(&magic)
    })
}

pub(super) fn refuse_kernels(directory: impl AsFd, path: &Path) -> Result<(), Error> {
    if !is_kernels(directory) {
        return Ok(());
    }
    let message = format!("`{}` is the kernel's and not a file of the instance", path.display());
    Err(Error::new(ErrorKind::Invalid, message).hint("use `hythe exec` to look at it"))
}

/// What is at an absolute path below a root; a symbolic link is not followed where no slash is behind it. Blocking.
///
/// # Errors
/// `NotFound`, `Invalid`, `Internal`.
pub fn look(root: impl AsFd, path: &Path) -> Result<PathInfo, Error> {
    let found = locate(root, path)?;
    let stat = stat(&found.parent, &found.name).map_err(|errno| failed("look at", path, errno))?;
    let target = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => Some(read_link(&found.parent, &found.name).map_err(|errno| failed("read", path, errno))?),
        _ => None,
    };
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    Ok(PathInfo { kind: kind(&stat), size, mode: stat.st_mode & 0o7777, target })
}

pub(super) fn stat(parent: impl AsFd, name: &OsStr) -> Result<Stat, Errno> {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
}

pub(super) fn read_link(parent: impl AsFd, name: &OsStr) -> Result<PathBuf, Errno> {
    let target = rustix::fs::readlinkat(parent, name, Vec::new())?;
    Ok(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
}

fn kind(stat: &Stat) -> Kind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Other,
    }
}
