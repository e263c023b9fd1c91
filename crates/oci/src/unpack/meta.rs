//! What an archive says about a file besides its content, and putting it there.

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

/// Attributes that overlayfs would obey are not an archive's to set.
const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
const XATTR: &[u8] = b"SCHILY.xattr.";
const PERMISSIONS: u32 = 0o7777;

/// Owner, mode, attributes and time of one file.
#[derive(Debug, Clone)]
pub(crate) struct Meta {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) mtime: Timespec,
}

impl Meta {
    /// Reads headers and extended headers; the error is a reason.
    pub(crate) fn read<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Self, String> {
        let header = entry.header();
        let id = |field: std::io::Result<u64>, what: &str| {
            let id = field.map_err(|error| error.to_string())?;
            u32::try_from(id).map_err(|_| format!("its {what} {id} is too large"))
        };
        let mut meta = Self {
            uid: id(header.uid(), "owner")?,
            gid: id(header.gid(), "group")?,
            mode: header.mode().map_err(|error| error.to_string())? & PERMISSIONS,
            xattrs: Vec::new(),
            mtime: seconds(header.mtime().unwrap_or(0)),
        };
        let Some(extensions) = entry.pax_extensions().map_err(|error| error.to_string())? else {
            return Ok(meta);
        };
        for extension in extensions {
            let extension = extension.map_err(|error| error.to_string())?;
            let (key, value) = (extension.key_bytes(), extension.value_bytes());
            if key == b"mtime" {
                meta.mtime = std::str::from_utf8(value).ok().and_then(timespec).unwrap_or(meta.mtime);
            } else if let Some(name) = key.strip_prefix(XATTR)
                && !OVERLAY.iter().any(|prefix| name.starts_with(prefix))
            {
                meta.xattrs.push((name.to_vec(), value.to_vec()));
            }
        }
        Ok(meta)
    }
}

fn seconds(seconds: u64) -> Timespec {
    Timespec { tv_sec: i64::try_from(seconds).unwrap_or(0), tv_nsec: 0 }
}

/// `1700000000.25`, also negative.
fn timespec(text: &str) -> Option<Timespec> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let tv_sec: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: i64 = digits.parse().ok()?;
    match (whole.starts_with('-'), nanoseconds) {
        (true, 1..) => Some(Timespec { tv_sec: tv_sec.checked_sub(1)?, tv_nsec: 1_000_000_000 - nanoseconds }),
        _ => Some(Timespec { tv_sec, tv_nsec: nanoseconds }),
    }
}

/// Something in a directory, by name, never followed where it is a symbolic link.
pub(crate) struct Target<'a> {
    pub(crate) parent: BorrowedFd<'a>,
    pub(crate) name: &'a [u8],
    pub(crate) is_symlink: bool,
    pub(crate) rootless: bool,
}

impl Target<'_> {
    /// In the one order in which nothing is lost: a change of owner clears setuid and capabilities.
    pub(crate) fn apply(&self, meta: &Meta) -> Result<(), Errno> {
        let Self { parent, name, is_symlink, rootless } = *self;
        if !rootless {
            let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
            rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if !is_symlink {
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(meta.mode), AtFlags::empty())?;
        }
        for (key, value) in &meta.xattrs {
            self.set_attribute(key, value)?;
        }
        let times = Timestamps { last_access: meta.mtime, last_modification: meta.mtime };
        rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// What this file system or user cannot have is left out, as other tools do.
    pub(crate) fn set_attribute(&self, key: &[u8], value: &[u8]) -> Result<(), Errno> {
        match rustix::fs::lsetxattr(self.path(), key, value, XattrFlags::empty()) {
            Err(Errno::NOTSUP) => Ok(()),
            Err(Errno::PERM | Errno::ACCESS | Errno::INVAL) if self.rootless || self.is_symlink => Ok(()),
            set => set,
        }
    }

    /// Attributes of symbolic links and devices have no call that takes a directory: it is named through /proc.
    pub(crate) fn path(&self) -> Vec<u8> {
        let mut path = format!("/proc/self/fd/{}/", self.parent.as_fd().as_raw_fd()).into_bytes();
        path.extend_from_slice(self.name);
        path
    }
}

/// The attributes of a file that an image may carry on; none where they cannot be read.
pub(crate) fn attributes(path: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let Ok(size) = rustix::fs::llistxattr_query(path) else { return Vec::new() };
    let mut names = vec![0; size];
    let length = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap_or(0);
    let wanted = |name: &&[u8]| !name.is_empty() && !OVERLAY.iter().any(|prefix| name.starts_with(prefix));
    let names = names[..length].split(|byte| *byte == 0).filter(wanted);
    names.filter_map(|name| Some((name.to_vec(), attribute(path, name)?))).collect()
}

pub(crate) fn attribute(path: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let mut value = vec![0; rustix::fs::lgetxattr_query(path, name).ok()?];
    let length = rustix::fs::lgetxattr(path, name, value.as_mut_slice()).ok()?;
    value.truncate(length);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions_and_signs() {
        let cases = [("12", (12, 0)), ("12.5", (12, 500_000_000)), ("-3", (-3, 0)), ("-3.25", (-4, 750_000_000))];
        for (text, (tv_sec, tv_nsec)) in cases {
            assert_eq!(timespec(text), Some(Timespec { tv_sec, tv_nsec }), "{text}");
        }
        for text in ["", ".5", "x", "1.x", "99999999999999999999"] {
            assert_eq!(timespec(text), None, "{text}");
        }
    }
}
