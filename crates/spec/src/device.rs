//! Devices of the host that a component is granted.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ParseError;
use crate::mount::paths;

/// A device of the host, granted to a component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Device {
    /// A device node, or a directory of them.
    Path {
        /// Absolute path on the host.
        path: String,
        /// Absolute path in the workload, below `/dev`.
        target: String,
        /// What is allowed: letters of `rwm`, each at most once (read, write, make a node).
        access: String,
    },
    /// What files of the Container Device Interface on the host mean by a name.
    Cdi {
        /// `vendor.com/class=name`.
        name: String,
    },
}

const FORM: &str =
    "write `/dev/kvm`, `/dev/fuse:/dev/fuse:rw`, or the name of a CDI device such as `vendor.com/class=name`";
const ALL: &str = "rwm";
/// Nodes and file systems that every instance has of its own.
const OWN: [&str; 15] = [
    "/dev/console",
    "/dev/fd",
    "/dev/full",
    "/dev/mqueue",
    "/dev/null",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/random",
    "/dev/shm",
    "/dev/stderr",
    "/dev/stdin",
    "/dev/stdout",
    "/dev/tty",
    "/dev/urandom",
    "/dev/zero",
];

impl FromStr for Device {
    type Err = ParseError;

    /// `path[:target][:access]`, or the name of a CDI device.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.starts_with('/') {
            let parts: Vec<&str> = text.split(':').collect();
            let (path, target, access) = match *parts.as_slice() {
                [path] => (path, path, ALL),
                [path, target] if target.starts_with('/') => (path, target, ALL),
                [path, access] => (path, path, access),
                [path, target, access] => (path, target, access),
                _ => return Err(ParseError::new(format!("`{text}` has too many parts for a device")).hint(FORM)),
            };
            let device = Self::Path { path: paths::clean(path), target: paths::clean(target), access: access.into() };
            if !target.starts_with('/') {
                return Err(ParseError::new(format!("`{target}` is not an absolute path in the workload")).hint(FORM));
            }
            return device.check().map(|()| device);
        }
        let device = Self::Cdi { name: text.to_owned() };
        device.check().map(|()| device)
    }
}

impl Device {
    /// Where it is in the workload; `None`: its files say that.
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::Path { target, .. } => Some(target),
            Self::Cdi { .. } => None,
        }
    }

    /// # Errors
    /// A path that is relative or leads nowhere in `/dev`, a place that the instance has of its own, letters that mean nothing, a
    /// name that CDI does not have.
    pub fn check(&self) -> Result<(), ParseError> {
        match self {
            Self::Path { path, target, access } => check_path(path, target, access),
            Self::Cdi { name } if is_cdi(name) => Ok(()),
            Self::Cdi { name } => Err(ParseError::new(format!("`{name}` is not a device")).hint(FORM)),
        }
    }
}

/// The place that every instance has of its own, where a cleaned path is one or below it.
pub(crate) fn own_place(path: &str) -> Option<&'static str> {
    OWN.into_iter().find(|own| paths::is_within(path, own))
}

fn check_path(path: &str, target: &str, access: &str) -> Result<(), ParseError> {
    let odd = |path: &str| {
        !path.starts_with('/') || path == "/" || path != paths::clean(path) || path.contains([':', '\0', ',', '\n'])
    };
    if let Some(odd) = [path, target].into_iter().find(|path| odd(path)) {
        return Err(ParseError::new(format!("`{}` is not the path of a device", odd.escape_debug())).hint(FORM));
    }
    if !target.starts_with("/dev/") {
        return Err(ParseError::new(format!("a device cannot be at `{target}` in the workload"))
            .hint("choose a path below `/dev`"));
    }
    if let Some(own) = own_place(target) {
        return Err(ParseError::new(format!("every instance has `{own}` of its own")).hint("choose another path"));
    }
    let again = access.char_indices().any(|(at, letter)| access[..at].contains(letter));
    if access.is_empty() || again || !access.chars().all(|letter| ALL.contains(letter)) {
        return Err(ParseError::new(format!("`{}` is not what a device allows", access.escape_debug()))
            .hint("letters of `rwm`: read, write, mknod"));
    }
    Ok(())
}

/// `vendor.com/class=name`, as CDI has it.
fn is_cdi(name: &str) -> bool {
    let word = |word: &str, extra: &[u8]| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || extra.contains(&b);
        word.bytes().all(inner) && word.bytes().next_back().is_some_and(|b| b.is_ascii_alphanumeric())
    };
    let letter = |word: &str| word.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    let Some((kind, device)) = name.split_once('=') else { return false };
    let Some((vendor, class)) = kind.split_once('/') else { return false };
    let named = word(device, b"_-.:") && device.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    letter(vendor) && word(vendor, b"_-.") && letter(class) && word(class, b"_-") && named
}

impl fmt::Display for Device {
    /// In full: `path:target:access`, or the name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { path, target, access } => write!(f, "{path}:{target}:{access}"),
            Self::Cdi { name } => f.pad(name),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_the_same_path_and_every_access() {
        let full = |text: &str| text.parse::<Device>().unwrap().to_string();
        assert_eq!(full("/dev/kvm"), "/dev/kvm:/dev/kvm:rwm");
        assert_eq!(full("/dev/fuse:r"), "/dev/fuse:/dev/fuse:r");
        assert_eq!(full("/dev/sda:/dev/disk"), "/dev/sda:/dev/disk:rwm");
        assert_eq!(full("/dev//fuse:/dev/./fuse:rw"), "/dev/fuse:/dev/fuse:rw");
        assert_eq!(full("nvidia.com/gpu=all"), "nvidia.com/gpu=all");
        assert_eq!(full("/dev/kvm:/dev/kvm:rwm").parse::<Device>().unwrap().target(), Some("/dev/kvm"));
    }

    #[test]
    fn what_is_no_device_is_an_error() {
        for text in [
            "",
            "kvm",
            "/",
            "/dev/a:b:c:d",
            "/dev/kvm:",
            "/dev/kvm:x",
            "/dev/kvm:rr",
            "/dev/kvm:dev/kvm:rw",
            "/dev/kvm:/etc/passwd",
            "/dev/kvm:/dev/../etc/passwd",
            "/dev/kvm:/dev/null",
            "/dev/kvm:/dev/shm/x",
            "vendor/=x",
            "vendor.com/class",
            "vendor.com/class=",
            "vendor.com/cl/ass=x",
            "--privileged/x=y",
        ] {
            assert!(text.parse::<Device>().is_err(), "{text}");
        }
    }
}
