//! Temporary memory: `/path[:size=64m,mode=1777]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::paths;
use super::short::Once;
use crate::{ByteSize, Mount, MountSource, ParseError};

const FORM: &str =
    "write `/path`, or `/path:size=64m,mode=1777`; also `uid`, `gid`, `nr_inodes`, `exec`, `suid`, `dev`, `ro`";
/// The kernel's highest number for a user or a group; the one above it stands for none.
pub(crate) const MAX_ID: u32 = u32::MAX - 1;

/// What a memory file system is mounted with beside its size and its mode.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TmpfsOptions {
    /// Size limit as a share of the host's memory, in percent (1 to 100), in place of one in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// Number of the user that owns its root; absent: the owner of the directory it covers, or root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Number of the group of its root; absent: as for the owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// How many files and directories it holds at most; absent: the kernel's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inodes: Option<u64>,
    /// Programs on it can be executed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exec: bool,
    /// Programs on it can gain the rights of their owner.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub suid: bool,
    /// Device nodes on it can be opened, those that the workload may use.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dev: bool,
}

impl TmpfsOptions {
    /// Whether nothing differs from what always holds.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The protections that hold, as `mount` words: each is named, in one direction or the other.
    pub const fn protections(&self) -> [&'static str; 3] {
        [
            if self.suid { "suid" } else { "nosuid" },
            if self.dev { "dev" } else { "nodev" },
            if self.exec { "exec" } else { "noexec" },
        ]
    }

    /// Owner and limits, as `mount` words.
    pub fn limits(&self) -> Vec<String> {
        let percent = self.percent.map(|percent| format!("size={percent}%"));
        let uid = self.uid.map(|uid| format!("uid={uid}"));
        let gid = self.gid.map(|gid| format!("gid={gid}"));
        let inodes = self.inodes.map(|inodes| format!("nr_inodes={inodes}"));
        [percent, uid, gid, inodes].into_iter().flatten().collect()
    }

    /// What differs from what always holds, as `mount` words.
    pub fn words(&self) -> Vec<String> {
        let opened = [(self.exec, "exec"), (self.suid, "suid"), (self.dev, "dev")];
        let opened = opened.into_iter().filter(|(is_open, _)| *is_open).map(|(_, word)| word.to_owned());
        self.limits().into_iter().chain(opened).collect()
    }
}

/// The options of a tmpfs while they are read.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Reading {
    size: Once<Size>,
    mode: Once<u32>,
    uid: Once<u32>,
    gid: Once<u32>,
    inodes: Once<u64>,
    exec: Once<bool>,
    suid: Once<bool>,
    dev: Once<bool>,
}

/// A size limit in either form.
#[derive(Debug, PartialEq)]
pub(crate) enum Size {
    Bytes(ByteSize),
    Percent(u8),
}

impl Reading {
    /// Takes an option; false: there is none of that name.
    pub(crate) fn take(&mut self, option: &str) -> Result<bool, ParseError> {
        match option.split_once('=').unwrap_or((option, "")) {
            ("size", value) => self.size.set(option, parse_size_or_share(value)?)?,
            ("mode", value) => self.mode.set(option, parse_mode(value)?)?,
            ("uid", value) => self.uid.set(option, parse_id(value)?)?,
            ("gid", value) => self.gid.set(option, parse_id(value)?)?,
            ("nr_inodes", value) => self.inodes.set(option, parse_inodes(value)?)?,
            ("exec", "") => self.exec.set(option, true)?,
            ("noexec", "") => self.exec.set(option, false)?,
            ("suid", "") => self.suid.set(option, true)?,
            ("nosuid", "") => self.suid.set(option, false)?,
            ("dev", "") => self.dev.set(option, true)?,
            ("nodev", "") => self.dev.set(option, false)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes an option of a long form, which has docker's own words for size and mode.
    pub(crate) fn take_long(&mut self, key: &str, option: &str) -> Result<bool, ParseError> {
        Ok(!matches!(key, "size" | "mode") && self.take(option)?)
    }

    /// The name of one that was read.
    pub(crate) fn first(&self) -> &'static str {
        let given = [
            (self.size != Once::default(), "size"),
            (self.mode != Once::default(), "mode"),
            (self.uid != Once::default(), "uid"),
            (self.gid != Once::default(), "gid"),
            (self.inodes != Once::default(), "nr_inodes"),
            (self.exec != Once::default(), "exec"),
            (self.suid != Once::default(), "suid"),
        ];
        given.into_iter().find(|(is_given, _)| *is_given).map_or("dev", |(_, name)| name)
    }

    /// Whether anything was read.
    pub(crate) fn is_given(&self) -> bool {
        *self != Self::default()
    }

    /// What was read.
    pub(crate) fn source(self) -> MountSource {
        let (size, percent) = match self.size.get() {
            Some(Size::Bytes(size)) => (Some(size), None),
            Some(Size::Percent(percent)) => (None, Some(percent)),
            None => (None, None),
        };
        let options = TmpfsOptions {
            percent,
            uid: self.uid.get(),
            gid: self.gid.get(),
            inodes: self.inodes.get(),
            exec: self.exec.get().unwrap_or(false),
            suid: self.suid.get().unwrap_or(false),
            dev: self.dev.get().unwrap_or(false),
        };
        MountSource::Tmpfs { size, mode: self.mode.get(), options }
    }
}

impl Mount {
    /// Reads docker's `--tmpfs` form. `nosuid`, `nodev` and `noexec` hold unless the opposite is written.
    ///
    /// # Errors
    /// A relative path, an unknown option, a size, mode, owner or limit that is none, options that contradict each other.
    pub fn parse_tmpfs(text: &str) -> Result<Self, ParseError> {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        if let Some((first, second)) = target.split_once(',') {
            return Err(ParseError::new(format!("`{target}` is not one path")).hint(format!(
                "write a list, `tmpfs = [\"{first}\", \"{second}\"]`; a path with a comma is written in `volumes`: `{{ type = \"tmpfs\", target = \"/a,b\" }}`"
            )));
        }
        let (mut reading, mut read_only) = (Reading::default(), Once::default());
        for option in options.split(',').filter(|_| !options.is_empty()) {
            match option {
                "rw" => read_only.set(option, false)?,
                "ro" => read_only.set(option, true)?,
                // The times of files in memory are nobody's business but the workload's.
                "noatime" | "nodiratime" | "relatime" => {}
                _ if reading.take(option)? => {}
                _ => return Err(ParseError::new(format!("unknown tmpfs option `{option}`")).hint(FORM)),
            }
        }
        Ok(Self {
            target: paths::target(target)?,
            source: reading.source(),
            read_only: read_only.get().unwrap_or(false),
        })
    }
}

/// Bytes, or a share of the host's memory: `50%`.
pub(crate) fn parse_size_or_share(text: &str) -> Result<Size, ParseError> {
    let Some(percent) = text.strip_suffix('%') else { return parse_size(text).map(Size::Bytes) };
    match percent.parse() {
        Ok(percent @ 1..=100) => Ok(Size::Percent(percent)),
        _ => Err(ParseError::new(format!("`{text}` is not a share of the memory")).hint("write `1%` to `100%`")),
    }
}

fn parse_id(text: &str) -> Result<u32, ParseError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(id @ 0..=MAX_ID) if is_number => Ok(id),
        _ => Err(ParseError::new(format!("`{text}` is not the number of a user or group"))
            .hint("write a number such as `1000`; names are known inside the image only")),
    }
}

/// A limit: the kernel takes none at all for 0.
fn parse_inodes(text: &str) -> Result<u64, ParseError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(0) => Err(ParseError::new("`nr_inodes=0` would be no limit").hint("leave `nr_inodes` out for none")),
        Ok(inodes @ 1..=MAX_INODES) if is_number => Ok(inodes),
        _ => Err(ParseError::new(format!("`{text}` is not a number of files")).hint("write a number such as `10000`")),
    }
}

/// More than any host's memory holds, and not too large for any kernel.
pub(crate) const MAX_INODES: u64 = 1 << 40;

/// A limit: the kernel takes none at all for 0.
pub(crate) fn parse_size(text: &str) -> Result<ByteSize, ParseError> {
    match text.parse()? {
        ByteSize(0) => Err(ParseError::new("a tmpfs of size 0 would have no limit").hint("leave `size` out for none")),
        size => Ok(size),
    }
}

/// Permission bits in octal.
pub(crate) fn parse_mode(text: &str) -> Result<u32, ParseError> {
    let octal = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    match u32::from_str_radix(text, 8) {
        Ok(mode @ 0..=0o7777) if octal => Ok(mode),
        _ => Err(ParseError::new(format!("`{text}` is not a file mode")).hint("write octal digits: `1777`, `0700`")),
    }
}
