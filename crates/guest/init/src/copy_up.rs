//! An empty volume gets what the image has in its place.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, mknodat, utimensat};

/// Copies a directory with owners, modes, times and attributes. `below` is open from before the volume covered it.
pub(crate) fn copy_up(below: &File, target: &Path) -> io::Result<()> {
    let source = PathBuf::from(format!("/proc/self/fd/{}/.", below.as_raw_fd()));
    let mut directories = vec![(source, target.to_owned())];
    let mut done = Vec::new();
    while let Some((from, to)) = directories.pop() {
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            if entry.file_type()?.is_dir() {
                fs::create_dir(&to)?;
                directories.push((from, to));
            } else {
                copy(&from, &to)?;
            }
        }
        done.push((from, to));
    }
    // Filling a directory changes its time.
    done.iter().rev().try_for_each(|(from, to)| copy_metadata(from, to))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(from)?;
    let kind = found.file_type();
    if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else if kind.is_file() {
        fs::copy(from, to)?;
    } else {
        let kind = FileType::from_raw_mode(found.mode());
        mknodat(CWD, to, kind, Mode::from_raw_mode(0o600), found.rdev())?;
    }
    copy_metadata(from, to)
}

/// The owner first: a change of owner clears setuid and capabilities.
fn copy_metadata(from: &Path, to: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(from)?;
    lchown(to, Some(found.uid()), Some(found.gid()))?;
    if !found.file_type().is_symlink() {
        fs::set_permissions(to, fs::Permissions::from_mode(found.mode() & 0o7777))?;
        copy_xattrs(from, to);
    }
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(found.atime(), found.atime_nsec()),
        last_modification: time(found.mtime(), found.mtime_nsec()),
    };
    utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

fn copy_xattrs(from: &Path, to: &Path) {
    let mut names = vec![0; 64 << 10];
    let Ok(length) = rustix::fs::listxattr(from, &mut names[..]) else { return };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 << 10];
        if let Ok(length) = rustix::fs::getxattr(from, name, &mut value[..]) {
            rustix::fs::setxattr(to, name, &value[..length], XattrFlags::empty()).ok();
        }
    }
}
