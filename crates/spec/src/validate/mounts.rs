//! Mounts: sound each by itself, one per target.

use std::collections::HashMap;

use super::Problem;
use super::component::TOO_LARGE;
use crate::mount::{paths, short, tmpfs};
use crate::units::MAX_SIZE;
use crate::{Component, Mount, MountSource, TmpfsOptions};

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
    if let Some(reason) = paths::reserved(&mount.target) {
        return Some(format!("nothing can be mounted at `{}`: {reason}", mount.target));
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
        MountSource::Tmpfs { size: Some(size), .. } if size.0 == 0 => {
            Some("a tmpfs of size 0 would have no limit".to_owned())
        }
        MountSource::Tmpfs { size: Some(size), .. } if size.0 > MAX_SIZE => Some(TOO_LARGE.to_owned()),
        MountSource::Tmpfs { size, options, .. } => unsound_options(size.is_some(), options).map(str::to_owned),
        MountSource::Bind { .. } => None,
    }
}

fn unsound_options(has_size: bool, options: &TmpfsOptions) -> Option<&'static str> {
    let TmpfsOptions { percent, uid, gid, inodes, exec: _, suid: _, dev: _ } = options;
    if has_size && percent.is_some() {
        return Some("a tmpfs has a size in bytes or in percent, not both");
    }
    if percent.is_some_and(|percent| !(1..=100).contains(&percent)) {
        return Some("the share of a tmpfs is 1 to 100 percent");
    }
    if [uid, gid].into_iter().flatten().any(|id| *id > tmpfs::MAX_ID) {
        return Some("the owner of a tmpfs is no number that the kernel knows");
    }
    let is_limit = inodes.is_none_or(|inodes| (1..=tmpfs::MAX_INODES).contains(&inodes));
    (!is_limit).then_some("the number of files of a tmpfs is no limit")
}

fn is_clean(path: &str) -> bool {
    !path.contains('\0') && paths::clean(path) == path
}
