//! The container's file system: layers stacked by overlayfs in a mount namespace of the shim's own, so that nothing is left when it dies.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use hythe_host::openat2;
use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use crate::directory::Directory;
use crate::error::{Doing, ShimError};
use crate::overlay;
use crate::record::Config;

/// Stacks the layers; gives where they are mounted.
pub(crate) fn mount_layers(directory: &Directory, config: &Config) -> Result<PathBuf, ShimError> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).doing("make a mount namespace")?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM).doing("separate mounts")?;
    let root = directory.at("root");
    for path in [directory.upper(), directory.at("work"), root.clone()] {
        fs::create_dir_all(&path).doing(format_args!("make `{}`", path.display()))?;
    }
    let nothing = directory.at("empty");
    let mut lower: Vec<&Path> = config.layers.iter().rev().map(PathBuf::as_path).collect();
    if lower.is_empty() {
        fs::create_dir_all(&nothing).doing(format_args!("make `{}`", nothing.display()))?;
        lower.push(&nothing);
    }
    let open = |path: &Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).doing(format_args!("open layer `{}`", path.display()))
    };
    let lower: Vec<OwnedFd> = lower.into_iter().map(open).collect::<Result<_, _>>()?;
    let (upper, work) = (open(&directory.upper())?, open(&directory.at("work"))?);
    let layers = overlay::Layers {
        lower: &lower,
        upper: upper.as_fd(),
        work: work.as_fd(),
        // In a user namespace overlayfs may not use the attributes that only the host's root has.
        user_attributes: config.user_namespace.is_some(),
    };
    layers.mount(&root)?;
    Ok(root)
}

/// Control groups as an unprivileged user may see them, for libcontainer: there it takes for granted that it may change nothing.
///
/// # Errors
/// What the kernel says.
pub(crate) fn mount_own_groups() -> Result<(), ShimError> {
    let place = Path::new("/sys/fs/cgroup");
    let found = rustix::fs::statfs(place).doing("look for cgroups")?;
    if found.f_type.cast_unsigned() == nix::libc::CGROUP2_SUPER_MAGIC.cast_unsigned() {
        return Ok(());
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWCGROUP).doing("create a cgroup namespace")?;
    mount(c"cgroup2", place, c"cgroup2", MountFlags::empty(), None).doing("mount cgroups")
}

/// The root as a directory to look up from.
pub(crate) fn open_root(root: &Path) -> Result<File, ShimError> {
    File::open(root).doing(format_args!("open `{}`", root.display()))
}

/// Makes a directory with what leads to it, below a root whose links may lead anywhere inside it.
///
/// # Errors
/// What cannot be made.
pub fn make_directory(root: &File, path: &str) -> Result<(), ShimError> {
    let mut reached = PathBuf::new();
    for part in Path::new(path).components() {
        let Component::Normal(part) = part else { continue };
        let (parent, next) = (reached.clone(), reached.join(part));
        if open_below(root, &next).is_err() {
            let parent = open_of_image(root, &parent)?;
            match mkdirat(&parent, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error).doing(format_args!("make `/{}` in the image", next.display())),
            }
        }
        reached = next;
    }
    Ok(())
}

/// A directory of an image whose path may be any.
fn open_of_image(root: &File, path: &Path) -> Result<OwnedFd, ShimError> {
    let shown = path.display();
    match open_below(root, path) {
        Err(Errno::LOOP) => Err(ShimError::invalid(format!("the links of `/{shown}` in the image lead in a circle"))),
        Err(Errno::NOTDIR) => Err(ShimError::invalid(format!("`/{shown}` of the image is no directory"))),
        Err(Errno::NOENT) => Err(ShimError::invalid(format!("the link `/{shown}` of the image leads nowhere"))),
        opened => opened.doing(format_args!("open `/{shown}` of the image")),
    }
}

pub(crate) fn open_below(root: &File, path: &Path) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
}

/// Does some work on an instance's file system as it would see it, while it does not run. Blocking.
///
/// # Errors
/// It cannot be stacked, or the work fails; then part of the work may be done.
pub fn within<T: Send>(
    directory: &Directory,
    config: &Config,
    work: impl FnOnce(&File) -> io::Result<T> + Send,
) -> Result<T, ShimError> {
    let inside = || {
        // The mount namespace, and with it the mount, is this thread's alone.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).doing("make a mount namespace")?;
        let root = open_root(&mount_layers(directory, config)?)?;
        work(&root).doing("change the file system")
    };
    std::thread::scope(|scope| scope.spawn(inside).join().unwrap_or_else(|_| Err(ShimError::invalid("the work died"))))
}

/// Copies a file or directory of the host to a path below a root, owned by root; a directory is laid over what is there.
///
/// # Errors
/// What cannot be read or written.
pub fn copy_in(root: &File, source: &Path, target: &str) -> io::Result<()> {
    let target = Path::new(target);
    let parent = target.parent().unwrap_or(Path::new("/"));
    make_directory(root, &parent.to_string_lossy()).map_err(|fault| io::Error::other(fault.message))?;
    let into = open_below(root, parent.strip_prefix("/").unwrap_or(parent))?;
    let name = target.file_name().unwrap_or(std::ffi::OsStr::new("."));
    copy_entry(into.as_fd(), source, name)
}

fn copy_entry(into: std::os::fd::BorrowedFd<'_>, source: &Path, name: &std::ffi::OsStr) -> io::Result<()> {
    use rustix::fs::{AtFlags, openat, symlinkat, unlinkat};
    let about = fs::symlink_metadata(source)?;
    let mode = Mode::from_raw_mode(about.mode() & 0o7777);
    if about.is_dir() {
        match mkdirat(into, name, mode) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inside = openat(into, name, flags, Mode::empty())?;
        for entry in fs::read_dir(source)? {
            let entry = entry?;
            copy_entry(inside.as_fd(), &entry.path(), &entry.file_name())?;
        }
        return Ok(());
    }
    match unlinkat(into, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    if about.is_symlink() {
        return Ok(symlinkat(fs::read_link(source)?, into, name)?);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(into, name, flags, mode)?);
    io::copy(&mut File::open(source)?, &mut file)?;
    file.set_permissions(fs::Permissions::from_mode(about.mode() & 0o7777))
}
