//! What an entry of an archive means: a whiteout, a link, or something that becomes a file.

use mkext4::Meta;
use tar::EntryType;

use super::archive::{Raw, number};
use super::tree::Attributes;

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";
/// What aufs kept for itself; of no meaning in an image.
const AUFS: &str = ".wh..wh.";
const XATTR: &[u8] = b"SCHILY.xattr.";
/// Attributes that overlayfs would obey are not an archive's to set.
const OVERLAY: [&str; 2] = ["trusted.overlay.", "user.overlay."];
/// Where ext4 can keep attributes.
const NAMESPACES: [&str; 3] = ["user.", "trusted.", "security."];
/// The longest path that the kernel takes.
const LONGEST: usize = 4095;
/// The longest name that ext4 takes.
const LONGEST_NAME: usize = 255;

/// An entry with a meaning.
#[derive(Debug)]
pub(super) struct Entry {
    /// Names from the root on; none for the root itself.
    pub(super) path: Vec<String>,
    pub(super) what: What,
    pub(super) attributes: Attributes,
}

#[derive(Debug)]
pub(super) enum What {
    Directory,
    File {
        size: u64,
    },
    Symlink {
        to: String,
    },
    HardLink {
        to: Vec<String>,
    },
    Fifo,
    Device {
        is_block: bool,
        major: u32,
        minor: u32,
    },
    /// Hides this path of the layers below.
    Whiteout,
    /// Hides everything that the layers below have in this directory.
    Opaque,
    Nothing,
}

/// Reads an entry.
///
/// # Errors
/// Why it makes no sense, with its name.
pub(super) fn read(raw: &Raw) -> Result<Entry, String> {
    let shown = String::from_utf8_lossy(&raw.name).into_owned();
    parse(raw).map_err(|why| format!("its entry `{shown}` cannot be unpacked: {why}"))
}

fn parse(raw: &Raw) -> Result<Entry, String> {
    let mut path = clean(&raw.name)?;
    let attributes = attributes(raw)?;
    let kind = raw.kind();
    // Archives older than directories as a type say it by the name.
    let is_directory = kind.is_dir() || (kind.is_file() && raw.name.ends_with(b"/"));
    let what = match path.last().cloned() {
        _ if is_directory => What::Directory,
        None => return Err("only a directory can be the root".to_owned()),
        Some(name) if name.starts_with(WHITEOUT) => whiteout(&mut path, &name)?,
        Some(_) => content(raw)?,
    };
    Ok(Entry { path, what, attributes })
}

fn whiteout(path: &mut Vec<String>, name: &str) -> Result<What, String> {
    path.pop();
    if name == OPAQUE {
        return Ok(What::Opaque);
    }
    if name.starts_with(AUFS) {
        return Ok(What::Nothing);
    }
    match &name[WHITEOUT.len()..] {
        "" | "." | ".." => Err("it is an invalid whiteout".to_owned()),
        hidden => {
            path.push(hidden.to_owned());
            Ok(What::Whiteout)
        }
    }
}

fn content(raw: &Raw) -> Result<What, String> {
    if raw.records.iter().any(|(key, _)| key.starts_with(b"GNU.sparse.")) {
        return Err("it has holes, which no layer of an image has".to_owned());
    }
    let device = || -> Result<(u32, u32), String> {
        let number = |found: std::io::Result<Option<u32>>| found.ok().flatten().unwrap_or(0);
        let (major, minor) = (number(raw.header.device_major()), number(raw.header.device_minor()));
        let valid = major <= 0xfff && minor <= 0xf_ffff;
        valid.then_some((major, minor)).ok_or_else(|| format!("its device number {major}:{minor} is too large"))
    };
    match raw.kind() {
        EntryType::Regular | EntryType::Continuous => Ok(What::File { size: raw.size }),
        EntryType::Symlink => Ok(What::Symlink { to: target(raw)?.to_owned() }),
        EntryType::Link => Ok(What::HardLink { to: clean(target(raw)?.as_bytes())? }),
        EntryType::Fifo => Ok(What::Fifo),
        EntryType::Char => device().map(|(major, minor)| What::Device { is_block: false, major, minor }),
        EntryType::Block => device().map(|(major, minor)| What::Device { is_block: true, major, minor }),
        EntryType::GNUSparse => Err("it has holes, which no layer of an image has".to_owned()),
        other => Err(format!("its type {} is unknown", other.as_byte())),
    }
}

fn target(raw: &Raw) -> Result<&str, String> {
    let to = raw.link.as_deref().filter(|to| !to.is_empty() && !to.contains(&0) && to.len() <= LONGEST);
    let to = to.ok_or("it links to nothing")?;
    std::str::from_utf8(to).map_err(|_| "it links to a name that is not UTF-8".to_owned())
}

/// Relative, without `.` and `..`: a path that would leave the root stays at it.
fn clean(name: &[u8]) -> Result<Vec<String>, String> {
    let name = std::str::from_utf8(name).map_err(|_| "its name is not UTF-8")?;
    if name.contains('\0') {
        return Err("its name has a zero byte".to_owned());
    }
    if name.len() > LONGEST {
        return Err("its name is too long".to_owned());
    }
    let mut path = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(path.pop()),
            part if part.len() > LONGEST_NAME => return Err("a part of its name is too long".to_owned()),
            part => path.push(part.to_owned()),
        }
    }
    Ok(path)
}

fn attributes(raw: &Raw) -> Result<Attributes, String> {
    let header = &raw.header;
    let uid = id(raw, "uid", blank(&header.as_old().uid).map_or_else(|| header.uid(), Ok))?;
    let gid = id(raw, "gid", blank(&header.as_old().gid).map_or_else(|| header.gid(), Ok))?;
    let mode = header.mode().map_err(|error| error.to_string())? & 0o7777;
    let recorded = raw.record("mtime").and_then(|text| std::str::from_utf8(text).ok()).and_then(time);
    let mtime = recorded.unwrap_or((header.mtime().unwrap_or(0).cast_signed(), 0));
    let mode = u16::try_from(mode).unwrap_or(0o755);
    Ok(Attributes { meta: Meta::new(mode, uid, gid, within(mtime)), xattrs: xattrs(raw)? })
}

/// ext4 keeps seconds in 34 bits.
fn within((seconds, nanoseconds): (i64, u32)) -> (i64, u32) {
    (seconds.clamp(i64::from(i32::MIN), (3 << 32) + i64::from(i32::MAX)), nanoseconds)
}

/// `1700000000.25`; before 1970 to the second.
fn time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds = digits.parse().ok()?;
    Some(if whole.starts_with('-') { (seconds, 0) } else { (seconds, nanoseconds) })
}

fn xattrs(raw: &Raw) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut found = Vec::new();
    for (key, value) in &raw.records {
        let Some(name) = key.strip_prefix(XATTR) else { continue };
        let name = std::str::from_utf8(name).map_err(|_| "an attribute's name is not UTF-8")?;
        let kept = NAMESPACES.iter().any(|space| name.starts_with(space) && name.len() > space.len());
        if kept && name.len() <= LONGEST_NAME && !OVERLAY.iter().any(|prefix| name.starts_with(prefix)) {
            found.push((name.to_owned(), value.clone()));
        }
    }
    Ok(found)
}

/// A field that says nothing is 0, as other tools read it.
fn blank(field: &[u8]) -> Option<u64> {
    field.iter().all(|byte| matches!(byte, 0 | b' ')).then_some(0)
}

fn id(raw: &Raw, key: &str, plain: std::io::Result<u64>) -> Result<u32, String> {
    let id = match raw.record(key) {
        Some(text) => number(text).ok_or_else(|| format!("its {key} is no number"))?,
        None => plain.map_err(|error| error.to_string())?,
    };
    u32::try_from(id).map_err(|_| format!("its {key} {id} is too large"))
}
