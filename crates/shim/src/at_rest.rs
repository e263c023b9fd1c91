//! The files of an instance that does not run, with its volumes in their places, where nobody else sees them mounted.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use hythe_host::openat2;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, mount_bind_recursive, mount_change, mount_remount};
use serde::{Deserialize, Serialize};

use crate::directory::Directory;
use crate::error::{Doing, ShimError};
use crate::record::{Config, RootMount};
use crate::rootfs::{make_directory, mount_layers, open_root};
use crate::supervisor::mount_one;

/// Something of the host in the place where the instance has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// File or directory of the host.
    pub source: PathBuf,
    /// Absolute path in the instance.
    pub target: String,
    /// Nothing is written to it.
    pub read_only: bool,
}

/// How the file system of an instance is put together.
#[derive(Debug, Clone, Copy)]
pub enum RootFiles<'a> {
    /// From the layers of a configuration.
    Layers(&'a Config),
    /// By these mounts, as an engine says.
    Mounts(&'a [RootMount]),
}

/// Does some work on the files of an instance that does not run and is not started meanwhile. Blocking.
///
/// # Errors
/// They cannot be mounted.
pub fn at_rest<T: Send>(
    directory: &Directory,
    files: RootFiles<'_>,
    binds: &[Bind],
    read_only: bool,
    work: impl FnOnce(&File) -> T + Send,
) -> Result<T, ShimError> {
    let inside = || {
        // The mount namespace, and with it the mounts, are this thread's alone.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).doing("make a mount namespace")?;
        let path = match files {
            RootFiles::Layers(config) => mount_layers(directory, config)?,
            RootFiles::Mounts(mounts) => mount_engines(directory, mounts)?,
        };
        let root = open_root(&path)?;
        for bind in binds {
            place(&root, bind, read_only).doing(format_args!("mount `{}`", bind.target))?;
        }
        if read_only {
            mount_remount(&path, MountFlags::BIND | MountFlags::RDONLY, c"").doing("make the root read-only")?;
        }
        Ok(work(&root))
    };
    std::thread::scope(|scope| scope.spawn(inside).join().unwrap_or_else(|_| Err(ShimError::invalid("the work died"))))
}

fn mount_engines(directory: &Directory, mounts: &[RootMount]) -> Result<PathBuf, ShimError> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).doing("make a mount namespace")?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM).doing("separate mounts")?;
    let root = directory.at("root");
    fs::create_dir_all(&root).doing(format_args!("make `{}`", root.display()))?;
    mounts.iter().try_for_each(|one| mount_one(one, &root))?;
    Ok(root)
}

/// What the instance has no place for is left out: a start would make it.
fn place(root: &File, bind: &Bind, read_only: bool) -> io::Result<()> {
    let below = bind.target.trim_start_matches('/');
    let open = || {
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        openat2(root, Path::new(below), OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), inside)
    };
    if open().is_err() && bind.source.is_dir() && !read_only {
        make_directory(root, &bind.target).map_err(|fault| io::Error::other(fault.message))?;
    }
    let Ok(target) = open() else { return Ok(()) };
    if !bind.source.exists() {
        return Ok(());
    }
    mount_bind_recursive(&bind.source, own(&target))?;
    if bind.read_only {
        // By its path again: the descriptor is of what lies below.
        let mounted = open()?;
        mount_remount(own(&mounted), MountFlags::BIND | MountFlags::RDONLY, c"")?;
    }
    Ok(())
}

fn own(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}
