//! Volumes that an image declares: each is a directory of the instance's own, filled from the image and gone with the instance.
//!
//! Not for: named volumes, which outlive instances (`volumes.rs`).

use std::fs;
use std::os::unix::fs::PermissionsExt;

use hythe_oci::Stored;
use hythe_oci_spec::FILES;
use hythe_runtime::plan::check_image_volume;
use hythe_runtime::{Error, ErrorKind, Plan, Result};
use hythe_shim::Directory;
use hythe_spec::mount::clean;

use crate::error::IoContext;
use crate::instances::{Record, anonymous};

/// No honest image declares more volumes.
const MOST_VOLUMES: usize = 128;

/// What becomes of the paths that an image declares as volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageVolumes {
    /// Each is a volume of the instance's own, gone with it.
    Own,
    /// They are directories like others: what a build writes there is in its image.
    None,
}

/// Where the image declares volumes and the plan mounts nothing, sorted.
pub(crate) fn declared(operation: &'static str, plan: &Plan, image: &Stored) -> Result<Vec<String>> {
    let found = image.config.config().as_ref().and_then(|config| config.volumes().as_ref());
    let mut paths: Vec<String> = found.into_iter().flatten().map(|path| clean(path)).collect();
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

/// Makes their directories, empty.
pub(crate) fn make(operation: &'static str, record: &Record, made: &Directory) -> Result<()> {
    for at in 0..record.volumes.len() {
        let (place, what) = (anonymous(made, at), "make a volume that the image declares");
        fs::create_dir_all(&place).context(operation, what)?;
        // Until it takes up what the image has there.
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).context(operation, what)?;
    }
    Ok(())
}
