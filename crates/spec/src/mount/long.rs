//! The long form, as docker's `--mount` takes it: `type=bind,source=/a,target=/b,readonly`.

use std::collections::BTreeMap;

use super::paths::{self, Paths};
use super::short::{self, Once, PROPAGATIONS};
use super::tmpfs::Reading;
use crate::{Mount, MountSource, ParseError};

/// The parts of a long mount before they are checked against its type.
#[derive(Debug, Default)]
pub(crate) struct Long {
    pub(crate) kind: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) read_only: bool,
    pub(crate) propagation: Option<String>,
    pub(crate) selinux: Option<char>,
    pub(crate) external: bool,
    pub(crate) memory: Reading,
}

impl Mount {
    /// Reads a mount flag as docker does (comma separated `key=value`); the type is `volume` where absent.
    ///
    /// # Errors
    /// Unknown or empty keys and values, options of another type, and what no runtime of Hythe carries: volume drivers,
    /// volume labels, `volume-nocopy`, `volume-subpath`, `bind-create-src`, recursive read-only binds.
    pub fn parse_long(text: &str, paths: &Paths<'_>) -> Result<Self, ParseError> {
        if text.is_empty() {
            return Err(ParseError::new("the mount is empty"));
        }
        let mut long = Long::default();
        let mut seen: BTreeMap<&str, Once<Option<String>>> = BTreeMap::new();
        for field in super::csv::fields(text)? {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (field.as_str(), None),
            };
            check_field(key, value)?;
            let key = key.to_ascii_lowercase();
            let told = value.filter(|_| !meaning(&key).is_empty());
            seen.entry(meaning(&key)).or_default().set(&field, told.map(str::to_owned))?;
            long.set(&key, value)?;
        }
        long.build(paths)
    }
}

/// One word for keys with one meaning.
fn meaning(key: &str) -> &'static str {
    match key {
        "source" | "src" => "source",
        "target" | "dst" | "destination" => "target",
        "readonly" | "ro" => "readonly",
        "type" => "type",
        "bind-propagation" => "bind-propagation",
        "tmpfs-size" => "tmpfs-size",
        "tmpfs-mode" => "tmpfs-mode",
        // What changes nothing may be said in any number of ways.
        _ => "",
    }
}

fn check_field(key: &str, value: Option<&str>) -> Result<(), ParseError> {
    if key.trim() != key {
        return Err(ParseError::new(format!("there is white space around `{}`", key.trim())));
    }
    match value {
        Some("") => Err(ParseError::new(format!("the value of `{key}` is empty"))),
        Some(value) if value.trim() != value => {
            Err(ParseError::new(format!("there is white space around the value of `{key}`")))
        }
        _ => Ok(()),
    }
}

impl Long {
    fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), ParseError> {
        let text = || value.map(str::to_owned).ok_or_else(|| ParseError::new(format!("`{key}` needs a value")));
        match key {
            "type" => self.kind = Some(text()?.to_ascii_lowercase()),
            "source" | "src" => self.source = Some(text()?),
            "target" | "dst" | "destination" => self.target = Some(text()?),
            "readonly" | "ro" => self.read_only = boolean(key, value)?,
            "bind-propagation" => self.propagation = Some(text()?),
            "tmpfs-size" => drop(self.memory.take(&format!("size={}", text()?))?),
            "tmpfs-mode" => drop(self.memory.take(&format!("mode={}", text()?))?),
            "consistency" => drop(text()?),
            "bind-recursive" if value == Some("enabled") => {}
            "volume-nocopy" | "bind-create-src" | "bind-nonrecursive" if !boolean(key, value)? => {}
            "volume-nocopy" | "volume-label" | "volume-driver" | "volume-opt" | "volume-subpath"
            | "bind-create-src" | "bind-nonrecursive" | "bind-recursive" => {
                return Err(ParseError::new(format!("`{key}` is not supported")));
            }
            _ => {
                let option = value.map_or_else(|| key.to_owned(), |value| format!("{key}={value}"));
                if !self.memory.take_long(key, &option)? {
                    return Err(unknown(key));
                }
            }
        }
        Ok(())
    }

    /// The mount, once the parts fit its type.
    pub(crate) fn build(self, paths: &Paths<'_>) -> Result<Mount, ParseError> {
        let kind = self.kind.as_deref().unwrap_or("volume");
        self.check_mix(kind)?;
        let target = self.target.as_deref().ok_or_else(|| ParseError::new("the mount has no target"))?;
        let source = match (kind, self.source.as_deref()) {
            ("volume", None) if self.external => {
                return Err(ParseError::new("an external volume needs a source"));
            }
            ("volume", None) => short::anonymous(target)?.source,
            ("volume", Some(name)) => MountSource::Volume { name: short::volume_name(name)?, external: self.external },
            ("bind", None) => return Err(ParseError::new("a bind mount needs a source")),
            ("bind", Some(path)) => {
                MountSource::Bind { path: paths.resolve(path)?, propagation: self.propagation, selinux: self.selinux }
            }
            ("tmpfs", None) => self.memory.source(),
            ("tmpfs", Some(_)) => return Err(ParseError::new("a tmpfs has no source")),
            _ => {
                return Err(ParseError::new(format!("`{kind}` is not a mount type")).hint("one of volume, bind, tmpfs"));
            }
        };
        Ok(Mount { target: paths::target(target)?, source, read_only: self.read_only })
    }

    fn check_mix(&self, kind: &str) -> Result<(), ParseError> {
        let mixed = |option: &str, wanted: &str| {
            Err(ParseError::new(format!("`{option}` is an option of {wanted} mounts, not of {kind}")))
        };
        match &self.propagation {
            Some(_) if kind != "bind" => return mixed("propagation", "bind"),
            Some(word) if !PROPAGATIONS.contains(&word.as_str()) => {
                return Err(ParseError::new(format!("`{word}` is not a mount propagation"))
                    .hint(format!("one of {}", PROPAGATIONS.join(", "))));
            }
            _ => {}
        }
        if self.selinux.is_some() && kind != "bind" {
            return mixed("selinux", "bind");
        }
        if self.external && kind != "volume" {
            return mixed("external", "volume");
        }
        if self.memory.is_given() && kind != "tmpfs" {
            return mixed(self.memory.first(), "tmpfs");
        }
        Ok(())
    }
}

fn boolean(key: &str, value: Option<&str>) -> Result<bool, ParseError> {
    match value {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(_) => Err(ParseError::new(format!("`{key}` is true, 1, false or 0"))),
    }
}

fn unknown(key: &str) -> ParseError {
    if let Some(error) = short::unsupported(key).or_else(|| short::unsupported(&key.to_ascii_uppercase())) {
        return error;
    }
    const KEYS: [&str; 7] = ["type", "source", "target", "readonly", "bind-propagation", "tmpfs-size", "tmpfs-mode"];
    let error = ParseError::new(format!("unknown mount option `{key}`"));
    match crate::nearest::nearest(key, KEYS) {
        Some(known) => error.hint(format!("did you mean `{known}`?")),
        None => error.hint(format!("one of {}", KEYS.join(", "))),
    }
}
