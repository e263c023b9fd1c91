//! The files that an instance sees: its root and what is mounted over it.

use std::sync::{Arc, PoisonError};

use hythe_runtime::{InstanceId, Result};
use hythe_spec::MountSource;

use crate::engine::{Volume, World};
use crate::error::missing;
use crate::files::{MountPoint, Place, SharedTree, View};

/// The files of an instance, with what the image has copied up to fresh volumes.
pub(crate) fn view_of(world: &mut World, operation: &'static str, id: &InstanceId) -> Result<View> {
    let instance = world.get(operation, id)?;
    let (root, read_only, mounts) = (Arc::clone(&instance.root), instance.plan.read_only, instance.plan.all_mounts());
    let mut points = Vec::new();
    for mount in mounts {
        let place = match mount.source {
            MountSource::Bind { path, .. } => Place::Host(path.into()),
            MountSource::Tmpfs { .. } => Place::Tree(SharedTree::default()),
            MountSource::Volume { name, .. } => {
                let volume = world.volumes.get_mut(&name).ok_or_else(|| missing(operation, "volume", &name))?;
                copy_up(volume, &root, &mount.target);
                Place::Tree(Arc::clone(&volume.tree))
            }
        };
        points.push(MountPoint { target: mount.target, place, read_only: mount.read_only });
    }
    Ok(View::new(root, read_only, points))
}

fn copy_up(volume: &mut Volume, root: &SharedTree, target: &str) {
    if !volume.used {
        let image = root.lock().unwrap_or_else(PoisonError::into_inner).below(target);
        *volume.tree.lock().unwrap_or_else(PoisonError::into_inner) = image;
        volume.used = true;
    }
}
