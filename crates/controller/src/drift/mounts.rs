//! Mounts, by target. Engines do not report relabelling for SELinux.

use hythe_runtime::{Observed, ObservedMount};
use hythe_spec::vocabulary::DriftCause;
use hythe_spec::{ByteSize, Mount, MountSource};
use serde_json::{Value, json};

use super::found::Found;

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "rshared", "rslave", "shared", "slave"];
const DEFAULT_PROPAGATION: &str = "rprivate";

pub(super) fn mounts(desired: &[Mount], seen: &Observed, found: &mut Found) {
    for mount in desired {
        let field = format!("mounts.{}", mount.target);
        match seen.mounts.iter().find(|other| other.target == mount.target) {
            None => found.missing(field, asked(mount)),
            Some(other) if !fits(mount, other) => found.push(field, asked(mount), have(other), DriftCause::Modified),
            Some(_) => {}
        }
    }
    let is_asked = |target: &str| desired.iter().any(|mount| mount.target == target);
    for other in seen.mounts.iter().filter(|other| other.given && !is_asked(&other.target)) {
        found.unexpected(format!("mounts.{}", other.target), have(other));
    }
}

fn fits(mount: &Mount, other: &ObservedMount) -> bool {
    let source = match &mount.source {
        MountSource::Volume { name, external: _ } => other.kind == "volume" && other.source == *name,
        MountSource::Bind { path, propagation, selinux: _ } => {
            let asked = propagation.as_deref().unwrap_or(DEFAULT_PROPAGATION);
            let same = |word: &String| word.trim_start_matches('r') == asked.trim_start_matches('r');
            let reported = other.options.iter().find(|option| PROPAGATIONS.contains(&option.as_str()));
            other.kind == "bind" && other.source == *path && reported.is_none_or(same)
        }
        MountSource::Tmpfs { size, mode, options } => {
            let words_fit = options.words().iter().all(|word| other.options.contains(word));
            let size_fits = size.is_none_or(|size| option(other, "size").is_some_and(|text| bytes(text) == Some(size)));
            let mode_fits = mode.is_none_or(|mode| option(other, "mode").is_some_and(|text| octal(text) == Some(mode)));
            other.kind == "tmpfs" && size_fits && mode_fits && words_fit
        }
    };
    source && mount.read_only == other.read_only
}

fn option<'a>(mount: &'a ObservedMount, key: &str) -> Option<&'a str> {
    mount.options.iter().find_map(|option| option.strip_prefix(key)?.strip_prefix('='))
}

fn bytes(text: &str) -> Option<ByteSize> {
    text.parse().ok()
}

fn octal(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok()
}

fn asked(mount: &Mount) -> Value {
    let (kind, source, options) = match &mount.source {
        MountSource::Volume { name, external: _ } => ("volume", name.as_str(), String::new()),
        MountSource::Bind { path, propagation, selinux: _ } => {
            ("bind", path.as_str(), propagation.clone().unwrap_or_default())
        }
        MountSource::Tmpfs { size, mode, options } => {
            let size = size.map(|size| format!("size={}", size.0));
            let mode = mode.map(|mode| format!("mode={mode:o}"));
            let words = [size, mode].into_iter().flatten().chain(options.words());
            ("tmpfs", "", words.collect::<Vec<_>>().join(","))
        }
    };
    shown(kind, source, mount.read_only, &options)
}

fn have(mount: &ObservedMount) -> Value {
    shown(&mount.kind, &mount.source, mount.read_only, &mount.options.join(","))
}

/// `bind:/srv:ro:rslave`.
fn shown(kind: &str, source: &str, read_only: bool, options: &str) -> Value {
    let access = if read_only { "ro" } else { "rw" };
    let words = [kind, source, access, options].into_iter().filter(|word| !word.is_empty());
    json!(words.collect::<Vec<_>>().join(":"))
}
