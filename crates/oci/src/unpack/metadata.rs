//! What an archive says about a file besides its content, and putting it there.

use std::fs::File;

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::tar_entry::{Member, number};
use super::tree::Place;
use crate::store::OwnershipMode;

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
    pub(crate) fn read(member: &Member) -> Result<Self, String> {
        let header = &member.header;
        let mut meta = Self {
            uid: id(member, "uid", blank(&header.as_old().uid).map_or_else(|| header.uid(), Ok))?,
            gid: id(member, "gid", blank(&header.as_old().gid).map_or_else(|| header.gid(), Ok))?,
            mode: header.mode().map_err(|error| error.to_string())? & PERMISSIONS,
            xattrs: Vec::new(),
            // Times before 1970 are written in two's complement.
            mtime: Timespec { tv_sec: header.mtime().unwrap_or(0).cast_signed(), tv_nsec: 0 },
        };
        let told = member.record("mtime").and_then(|text| std::str::from_utf8(text).ok()).and_then(timespec);
        meta.mtime = told.unwrap_or(meta.mtime);
        for (key, value) in &member.records {
            if let Some(name) = key.strip_prefix(XATTR)
                && !OVERLAY.iter().any(|prefix| name.starts_with(prefix))
            {
                meta.xattrs.push((name.to_vec(), value.clone()));
            }
        }
        Ok(meta)
    }
}

/// A field that says nothing is 0, as other tools read it.
fn blank(field: &[u8]) -> Option<u64> {
    field.iter().all(|byte| matches!(byte, 0 | b' ')).then_some(0)
}

fn id(member: &Member, key: &str, plain: std::io::Result<u64>) -> Result<u32, String> {
    let id = match member.record(key) {
        Some(text) => number(text).ok_or_else(|| format!("its {key} is no number"))?,
        None => plain.map_err(|error| error.to_string())?,
    };
    u32::try_from(id).map_err(|_| format!("its {key} {id} is too large"))
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

impl Meta {
    /// Gives a file its looks, in the one order in which nothing is lost: a change of owner clears setuid and capabilities.
    /// The last component is never followed.
    pub(crate) fn apply(&self, place: &Place<'_>, is_symlink: bool, rights: OwnershipMode) -> Result<(), Errno> {
        let (parent, name) = (&*place.parent, place.name);
        if rights.keeps_owners() {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if !is_symlink {
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(self.mode), AtFlags::empty())?;
        }
        for (key, value) in &self.xattrs {
            let set = rustix::fs::lsetxattr(place.path(), key.as_slice(), value, XattrFlags::empty());
            tolerate(set, !rights.is_root() || is_symlink)?;
        }
        let times = Timestamps { last_access: self.mtime, last_modification: self.mtime };
        rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)
    }
}

impl Meta {
    /// As [`Meta::apply`], for a regular file that was just made; every change that is none is left out, since each costs the file system a transaction.
    pub(crate) fn apply_to(&self, file: &File, rights: OwnershipMode) -> Result<(), Errno> {
        let made = rustix::fs::fstat(file)?;
        if rights.keeps_owners() && (made.st_uid, made.st_gid) != (self.uid, self.gid) {
            rustix::fs::fchown(file, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))?;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))?;
        for (key, value) in &self.xattrs {
            tolerate(rustix::fs::fsetxattr(file, key.as_slice(), value, XattrFlags::empty()), !rights.is_root())?;
        }
        let times = Timestamps { last_access: self.mtime, last_modification: self.mtime };
        rustix::fs::futimens(file, &times)
    }
}

/// An attribute that this file system (or, where `lenient`, this user) cannot have is left out, as other tools do.
fn tolerate(set: Result<(), Errno>, lenient: bool) -> Result<(), Errno> {
    match set {
        Err(Errno::NOTSUP) => Ok(()),
        Err(Errno::PERM | Errno::ACCESS | Errno::INVAL) if lenient => Ok(()),
        set => set,
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
