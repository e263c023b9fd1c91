//! What images bring to volumes: those that an image declares, and the files that an empty volume gets.
//!
//! A declared volume that the plan does not mount is a directory of the instance's own, filled from the image and gone with the instance.
//! Not for: named volumes, which outlive instances.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hythe_oci_spec::{FILES, Paths, volume_files};
use hythe_runtime::plan::check_image_volume;
use hythe_runtime::{Error, ErrorKind, ObservedMount, Plan, Result};
use hythe_shim::Directory;
use hythe_shim::at_rest::Bind;
use hythe_shim::record::CopyUp;
use hythe_spec::MountSource;
use hythe_spec::mount::clean;

use crate::IoContext;

/// No honest image declares more volumes.
const MOST_VOLUMES: usize = 128;

/// Directory of the files of a declared volume, by its place among them; it goes with the instance.
pub fn anonymous(directory: &Directory, at: usize) -> PathBuf {
    directory.at("anonymous").join(at.to_string()).join("data")
}

/// The directories of the host that an instance has mounted: named volumes below `volumes`, binds, and its `declared` volumes.
/// Those of others below them come last.
pub fn binds(volumes: &Path, plan: &Plan, declared: &[String], directory: &Directory) -> Vec<Bind> {
    let of_plan = plan.mounts.iter().filter_map(|mount| {
        let source = match &mount.source {
            MountSource::Volume { name, .. } => volume_files(volumes, name),
            MountSource::Bind { path, .. } => PathBuf::from(path),
            MountSource::Tmpfs { .. } => return None,
        };
        Some(Bind { source, target: mount.target.clone(), read_only: mount.read_only })
    });
    let own = (0..).zip(declared).map(|(at, target)| Bind {
        source: anonymous(directory, at),
        target: target.clone(),
        read_only: false,
    });
    let mut binds: Vec<Bind> = of_plan.chain(own).collect();
    binds.sort_by(|one, other| one.target.cmp(&other.target));
    binds
}

/// Of the paths that the image declares, those where the plan mounts nothing, sorted.
///
/// # Errors
/// `Invalid`: there are too many, or nothing can be mounted at one.
pub fn declared<'a>(
    operation: &'static str,
    plan: &Plan,
    paths: impl IntoIterator<Item = &'a String>,
) -> Result<Vec<String>> {
    let mut paths: Vec<String> = paths.into_iter().map(|path| clean(path)).collect();
    paths.sort();
    paths.dedup();
    let mounts = plan.all_mounts();
    paths.retain(|path| mounts.iter().all(|mount| mount.target != *path) && !FILES.contains(&path.as_str()));
    if paths.len() > MOST_VOLUMES {
        let message = format!("image `{}` declares {} volumes, more than {MOST_VOLUMES}", plan.image, paths.len());
        return Err(Error::new(ErrorKind::Invalid, operation, message).hint("build the image with fewer"));
    }
    paths.iter().try_for_each(|path| check_image_volume(operation, path))?;
    Ok(paths)
}

/// Makes the directories of this number of declared volumes, empty.
///
/// # Errors
/// The disk.
pub fn make(operation: &'static str, count: usize, made: &Directory) -> Result<()> {
    for at in 0..count {
        let (place, what) = (anonymous(made, at), "make a volume that the image declares");
        fs::create_dir_all(&place).context(operation, what)?;
        // Until it takes up what the image has there.
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).context(operation, what)?;
    }
    Ok(())
}

/// The volumes that get what the image has at their targets: those of the plan, and those that the image declares.
pub fn copy_up(plan: &Plan, paths: &Paths) -> Vec<CopyUp> {
    let of_plan = plan.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name, .. } => {
            Some(CopyUp { volume: volume_files(&paths.volumes, name), target: mount.target.clone() })
        }
        MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
    });
    let anonymous = paths.anonymous.iter();
    let anonymous = anonymous.map(|(volume, target)| CopyUp { volume: volume.clone(), target: target.clone() });
    of_plan.chain(anonymous).collect()
}

/// Adds the declared volumes of an instance to its mounts, sorted by target.
pub fn observed(id: &str, volumes: &[String], mut mounts: Vec<ObservedMount>) -> Vec<ObservedMount> {
    mounts.extend((0..).zip(volumes).map(|(at, target): (u32, &String)| ObservedMount {
        target: target.clone(),
        kind: "volume".to_owned(),
        source: format!("{id}-{at}"),
        read_only: false,
        options: Vec::new(),
        given: false,
    }));
    mounts.sort_by(|one, other| one.target.cmp(&other.target));
    mounts
}
