//! The container's file system: layers stacked by overlayfs in a mount namespace of the shim's own, so that nothing is left when it dies.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown, lchown, symlink};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, ResolveFlags, flock, mkdirat, openat2};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use crate::directory::Directory;
use crate::error::{Doing, Fault};
use crate::record::{Launch, TakeUp};

/// Stacks the layers; gives where they are mounted.
pub(crate) fn mount_layers(directory: &Directory, launch: &Launch) -> Result<PathBuf, Fault> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).doing("make a mount namespace")?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM).doing("separate mounts")?;
    let root = directory.at("root");
    for path in [directory.upper(), directory.at("work"), root.clone()] {
        fs::create_dir_all(&path).doing(format_args!("make `{}`", path.display()))?;
    }
    let nothing = directory.at("empty");
    let mut lower: Vec<&Path> = launch.layers.iter().rev().map(PathBuf::as_path).collect();
    if lower.is_empty() {
        fs::create_dir_all(&nothing).doing(format_args!("make `{}`", nothing.display()))?;
        lower.push(&nothing);
    }
    // Descriptors: short, since all must fit into one page, and without a character that means something to overlayfs.
    let open = |path: &Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).doing(format_args!("open layer `{}`", path.display()))
    };
    let lower: Vec<OwnedFd> = lower.into_iter().map(open).collect::<Result<_, _>>()?;
    let (upper, work) = (open(&directory.upper())?, open(&directory.at("work"))?);
    let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let names: Vec<String> = lower.iter().map(name).collect();
    // In a user namespace overlayfs may not use the attributes that only the machine's root has.
    let own = if launch.user_namespace.is_some() { "userxattr," } else { "" };
    let options = format!("{own}lowerdir={},upperdir={},workdir={}", names.join(":"), name(&upper), name(&work));
    let options = std::ffi::CString::new(options).map_err(|_| Fault::invalid("a layer has a zero byte in its name"))?;
    mount(c"overlay", &root, c"overlay", MountFlags::empty(), Some(options.as_c_str())).doing(format_args!(
        "stack {} layers with overlayfs at `{}`",
        names.len(),
        root.display()
    ))?;
    Ok(root)
}

/// Control groups as an ordinary user may see them, for libcontainer: there it takes for granted that it may change nothing.
///
/// # Errors
/// What the kernel says.
pub(crate) fn mount_own_groups() -> Result<(), Fault> {
    let place = Path::new("/sys/fs/cgroup");
    let found = rustix::fs::statfs(place).doing("look for control groups")?;
    if found.f_type.cast_unsigned() == nix::libc::CGROUP2_SUPER_MAGIC.cast_unsigned() {
        return Ok(());
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWCGROUP).doing("make a namespace of control groups")?;
    mount(c"cgroup2", place, c"cgroup2", MountFlags::empty(), None).doing("mount control groups")
}

/// The root as a directory to look up from.
pub(crate) fn open_root(root: &Path) -> Result<File, Fault> {
    File::open(root).doing(format_args!("open `{}`", root.display()))
}

/// Makes a directory with what leads to it, below a root whose links may lead anywhere inside it.
///
/// # Errors
/// What cannot be made.
pub fn make_directory(root: &File, path: &str) -> Result<(), Fault> {
    let mut reached = PathBuf::new();
    for part in Path::new(path).components() {
        let Component::Normal(part) = part else { continue };
        let (parent, next) = (reached.clone(), reached.join(part));
        if open_below(root, &next).is_err() {
            let parent = open_below(root, &parent).doing(format_args!("open `/{}` of the image", parent.display()))?;
            match mkdirat(&parent, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error).doing(format_args!("make `/{}` in the image", next.display())),
            }
        }
        reached = next;
    }
    Ok(())
}

fn open_below(root: &File, path: &Path) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
}

/// Gives an empty volume what the image has where it will be mounted, with owner and rights. One that was begun is finished.
pub(crate) fn take_up(root: &File, wanted: &TakeUp) -> Result<(), Fault> {
    let volume = &wanted.volume;
    let told = || format!("give volume `{}` what the image has at `{}`", volume.display(), wanted.target);
    let marker = volume.with_extension("begun");
    let lock = File::create(volume.with_extension("lock")).doing(told())?;
    flock(&lock, FlockOperation::LockExclusive).doing(told())?;
    let empty = fs::read_dir(volume).doing(told())?.next().is_none();
    if !empty && !marker.exists() {
        return Ok(());
    }
    let Ok(source) = open_below(root, Path::new(wanted.target.trim_start_matches('/'))) else { return Ok(()) };
    fs::write(&marker, "").doing(told())?;
    let from = PathBuf::from(format!("/proc/self/fd/{}", source.as_fd().as_raw_fd()));
    copy_tree(&from, volume).doing(told())?;
    let source = File::from(source);
    let about = source.metadata().doing(told())?;
    let target = File::open(volume).doing(told())?;
    fchown(&target, Some(about.uid()), Some(about.gid())).doing(told())?;
    target.set_permissions(fs::Permissions::from_mode(about.mode() & 0o7777)).doing(told())?;
    fs::remove_file(&marker).doing(told())
}

/// Copies what is in a directory and not in the other yet: directories, files, links.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let about = fs::symlink_metadata(&source)?;
        let kind = about.file_type();
        if kind.is_symlink() {
            if fs::symlink_metadata(&target).is_err() {
                symlink(fs::read_link(&source)?, &target)?;
            }
            lchown(&target, Some(about.uid()), Some(about.gid()))?;
            continue;
        }
        if kind.is_dir() {
            if !target.is_dir() {
                fs::create_dir(&target)?;
            }
            copy_tree(&source, &target)?;
        } else if kind.is_file() {
            fs::copy(&source, &target)?;
        } else {
            continue;
        }
        lchown(&target, Some(about.uid()), Some(about.gid()))?;
        fs::set_permissions(&target, fs::Permissions::from_mode(about.mode() & 0o7777))?;
    }
    Ok(())
}

/// Does some work on an instance's file system as it would see it, while it does not run. Blocking.
///
/// # Errors
/// It cannot be stacked, or the work fails; then part of the work may be done.
pub fn within<T: Send>(
    directory: &Directory,
    launch: &Launch,
    work: impl FnOnce(&File) -> io::Result<T> + Send,
) -> Result<T, Fault> {
    let inside = || {
        // The mount namespace, and with it the mount, is this thread's alone.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).doing("make a mount namespace")?;
        let root = open_root(&mount_layers(directory, launch)?)?;
        work(&root).doing("change the file system")
    };
    std::thread::scope(|scope| scope.spawn(inside).join().unwrap_or_else(|_| Err(Fault::invalid("the work died"))))
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
