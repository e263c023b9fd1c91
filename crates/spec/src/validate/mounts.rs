//! Mounts: sound each by itself, one per target.

use std::collections::HashMap;

use super::Problem;
use crate::mount::{paths, short};
use crate::{Component, Mount, MountSource};

/// Checks `volumes`, `tmpfs` and the paths of the profile together.
pub(super) fn check(path: &str, component: &Component) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen: HashMap<&str, String> = HashMap::new();
    let own = component.mounts.iter().enumerate().map(|(at, mount)| (format!("{path}.mounts[{at}]"), mount));
    let granted = component.permissions.mounts.iter().map(|mount| (format!("{path}.permissions"), mount));
    for (place, mount) in own.chain(granted) {
        problems.extend(unsound(mount).map(|message| Problem::new(&place, message)));
        if let Some(first) = seen.insert(&mount.target, place.clone()) {
            let problem = Problem::new(place, format!("something else is mounted at `{}` already", mount.target));
            problems.push(problem.related(first, "mounted here"));
        }
    }
    problems
}

/// What no parser lets through, but a service from the wire may hold.
fn unsound(mount: &Mount) -> Option<String> {
    if mount.target == "/" || !is_clean(&mount.target) {
        return Some(format!("`{}` is not a path to mount at", mount.target.escape_default()));
    }
    match &mount.source {
        MountSource::Volume { name, external: _ } => short::volume_name(name).err().map(|error| error.message),
        MountSource::Bind { path, .. } if !is_clean(path) => {
            Some(format!("`{}` is not an absolute host path", path.escape_default()))
        }
        MountSource::Bind { propagation: Some(word), .. } if !short::PROPAGATIONS.contains(&word.as_str()) => {
            Some(format!("`{word}` is not a mount propagation"))
        }
        MountSource::Bind { selinux: Some(letter), .. } if !matches!(letter, 'z' | 'Z') => {
            Some(format!("`{letter}` is not a relabelling"))
        }
        MountSource::Tmpfs { mode: Some(mode), .. } if *mode > 0o7777 => Some(format!("`{mode:o}` is not a file mode")),
        MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
    }
}

fn is_clean(path: &str) -> bool {
    !path.contains('\0') && paths::clean(path) == path
}
