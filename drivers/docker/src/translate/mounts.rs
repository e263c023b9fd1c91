//! Mounts of a plan, in the three places where the API takes them.

use std::collections::HashMap;
use std::str::FromStr;

use bollard::models::{Mount as Native, MountBindOptions, MountBindOptionsPropagationEnum, MountType};
use hythe_spec::{ByteSize, Mount, MountSource, TmpfsOptions};

use super::{Engine, Surroundings};

/// Podman's API puts a writable tmpfs on these when the root is read-only; covered with what the image has there, read-only.
pub(super) const COVERED: [&str; 3] = ["/run", "/tmp", "/var/tmp"];
/// Options of a cover; no tmpfs of a plan has both `ro` and `tmpcopyup`.
pub(super) const COVER: [&str; 2] = ["ro", "tmpcopyup"];

/// Mounts as the API takes them.
#[derive(Debug, Default)]
pub(crate) struct Translated {
    /// Volumes and binds; a missing bind source is refused.
    pub(crate) mounts: Option<Vec<Native>>,
    /// Binds that SELinux relabels: `mounts` has no word for that. Their sources are checked before, because dockerd creates missing ones.
    pub(crate) binds: Option<Vec<String>>,
    /// Memory file systems by target.
    pub(crate) tmpfs: Option<HashMap<String, String>>,
}

/// All mounts.
pub(crate) fn translate(mounts: &[Mount], read_only_root: bool, around: &Surroundings) -> Translated {
    let mut translated = Translated::default();
    for Mount { target, source, read_only } in mounts {
        match source {
            MountSource::Volume { name, external: _ } => {
                translated.mounts.get_or_insert_default().push(plain(MountType::VOLUME, name, target, *read_only));
            }
            MountSource::Bind { path, propagation, selinux: Some(label) } if around.selinux => {
                translated.binds.get_or_insert_default().push(relabelled(
                    path,
                    target,
                    *read_only,
                    propagation.as_deref(),
                    *label,
                ));
            }
            // Without SELinux a label means nothing.
            MountSource::Bind { path, propagation, selinux: _ } => {
                let mut mount = plain(MountType::BIND, path, target, *read_only);
                mount.bind_options = propagation.as_deref().and_then(bind_options);
                translated.mounts.get_or_insert_default().push(mount);
            }
            MountSource::Tmpfs { size, mode, options: more } => {
                let options = tmpfs_options(*size, *mode, more, *read_only, around.engine);
                translated.tmpfs.get_or_insert_default().insert(target.clone(), options);
            }
        }
    }
    if read_only_root && around.engine == Engine::Podman {
        cover(mounts, &mut translated);
    }
    translated
}

fn cover(mounts: &[Mount], translated: &mut Translated) {
    let free = COVERED.iter().filter(|target| mounts.iter().all(|mount| mount.target != **target));
    let options = format!("{},nosuid,nodev", COVER.join(","));
    translated.tmpfs.get_or_insert_default().extend(free.map(|target| ((*target).to_owned(), options.clone())));
}

fn plain(typ: MountType, source: &str, target: &str, read_only: bool) -> Native {
    Native {
        typ: Some(typ),
        source: Some(source.to_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        ..Native::default()
    }
}

fn bind_options(propagation: &str) -> Option<MountBindOptions> {
    let propagation = MountBindOptionsPropagationEnum::from_str(propagation).ok()?;
    Some(MountBindOptions { propagation: Some(propagation), ..MountBindOptions::default() })
}

fn relabelled(path: &str, target: &str, read_only: bool, propagation: Option<&str>, label: char) -> String {
    let access = if read_only { "ro" } else { "rw" };
    let propagation = propagation.map(|mode| format!(",{mode}")).unwrap_or_default();
    format!("{path}:{target}:{access},{label}{propagation}")
}

/// Podman fills a tmpfs with what the image has there unless told not to; dockerd never does.
fn tmpfs_options(
    size: Option<ByteSize>,
    mode: Option<u32>,
    more: &TmpfsOptions,
    read_only: bool,
    engine: Engine,
) -> String {
    let access = if read_only { "ro" } else { "rw" };
    let protections = more.protections().join(",");
    let mut options = format!("{access},{protections}");
    // Without a mode it has that of the directory that it covers, else 1777.
    if let Some(mode) = mode {
        options.push_str(&format!(",mode={mode:o}"));
    }
    for limit in more.limits() {
        options.push_str(&format!(",{limit}"));
    }
    if let Some(size) = size {
        options.push_str(&format!(",size={}", size.0));
    }
    if engine == Engine::Podman {
        options.push_str(",notmpcopyup");
    }
    options
}
