//! File systems: the kernel's own, the root, and the mounts of the configuration.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_move, mount_remount, move_mount, open_tree,
    unmount,
};

use crate::protocol::{Config, Mount, ROOT_SERIAL, Source};
use crate::{context, copy_up, files};

const NEW_ROOT: &str = "/root";
/// Where a shared directory is mounted while one path of it is taken.
const STAGING: &str = "/dev/.hythe-mount";
/// Disks appear soon after their driver was loaded.
const APPEARS: Duration = Duration::from_secs(5);
const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC).union(MountFlags::NODEV);

/// What has to be there before anything else.
pub(crate) fn basics() -> Result<(), String> {
    let kinds = [("proc", "/proc", PLAIN), ("sysfs", "/sys", PLAIN), ("devtmpfs", "/dev", MountFlags::NOSUID)];
    for (kind, target, flags) in kinds {
        match mount(kind, target, kind, flags, None) {
            Ok(()) | Err(Errno::BUSY) => {}
            Err(error) => return Err(format!("`{target}`: {error}")),
        }
    }
    Ok(())
}

/// Mounts the root disk and makes it the root directory.
pub(crate) fn enter_root() -> Result<(), String> {
    let disk = disk(ROOT_SERIAL)?;
    mount(&disk, NEW_ROOT, "ext4", MountFlags::NOATIME, None).map_err(context("the root disk"))?;
    for name in ["proc", "sys", "dev"] {
        let target = format!("{NEW_ROOT}/{name}");
        make_directory(Path::new(&target))?;
        mount_move(format!("/{name}"), &target).map_err(context(&target))?;
    }
    rustix::process::chdir(NEW_ROOT).map_err(context("the root"))?;
    mount_move(".", "/").map_err(context("the root"))?;
    rustix::process::chroot(".").map_err(context("the root"))?;
    rustix::process::chdir("/").map_err(context("the root"))?;
    devices()
}

fn devices() -> Result<(), String> {
    let mounts = [
        ("devpts", "/dev/pts", MountFlags::NOSUID | MountFlags::NOEXEC, c"newinstance,ptmxmode=0666,mode=0620,gid=5"),
        ("tmpfs", "/dev/shm", MountFlags::NOSUID | MountFlags::NODEV, c"mode=1777"),
        ("mqueue", "/dev/mqueue", PLAIN, c""),
        ("cgroup2", "/sys/fs/cgroup", PLAIN, c""),
    ];
    for (kind, target, flags, options) in mounts {
        fs::create_dir_all(target).ok();
        match mount(kind, target, kind, flags, Some(options)) {
            // A kernel without message queues or cgroups runs programs that need neither.
            Ok(()) | Err(Errno::NODEV) => {}
            Err(_) if kind == "cgroup2" => {}
            Err(error) => return Err(format!("`{target}`: {error}")),
        }
    }
    let links = [
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
    ];
    for (to, link) in links {
        symlink(to, link).ok();
    }
    Ok(())
}

pub(crate) fn uses_virtiofs(config: &Config) -> bool {
    config.mounts.iter().any(|mount| matches!(mount.source, Source::Virtiofs { .. }))
}

pub(crate) fn uses_9p(config: &Config) -> bool {
    config.mounts.iter().any(|mount| matches!(mount.source, Source::NineP { .. }))
}

/// Makes the mounts of the configuration. The root becomes read-only last: it has the places of the others.
pub(crate) fn mount_all(config: &Config) -> Result<(), String> {
    for mount in &config.mounts {
        mount_one(mount).map_err(context(format!("mount `{}`", mount.target)))?;
    }
    if config.read_only_root {
        mount_remount("/", MountFlags::RDONLY, "").map_err(context("a read-only root"))?;
    }
    Ok(())
}

fn mount_one(entry: &Mount) -> Result<(), String> {
    let Mount { source, target, read_only } = entry;
    if !target.starts_with('/') || target == "/" {
        return Err("it is no absolute path below the root".to_owned());
    }
    match source {
        Source::Tmpfs { size, mode, options } => return mount_tmpfs(entry, *size, *mode, options),
        Source::Disk { serial, copy_up } => return mount_disk(serial, target, *read_only, *copy_up),
        Source::Virtiofs { tag, path } => shared(tag, "virtiofs", c"", path.as_deref(), target)?,
        Source::NineP { tag, path } => {
            let options = c"trans=virtio,version=9p2000.L,msize=262144,cache=none";
            shared(tag, "9p", options, path.as_deref(), target)?;
        }
    }
    if *read_only {
        mount_remount(target, MountFlags::BIND | MountFlags::RDONLY, "").map_err(context("read-only"))?;
    }
    Ok(())
}

fn read_only_if(read_only: bool) -> MountFlags {
    if read_only { MountFlags::RDONLY } else { MountFlags::empty() }
}

fn mount_tmpfs(entry: &Mount, size: Option<u64>, mode: Option<u32>, options: &[String]) -> Result<(), String> {
    let target = entry.target.as_str();
    let covered = fs::metadata(target).ok();
    make_directory(Path::new(target))?;
    let mut flags = read_only_if(entry.read_only);
    let mode = mode.or_else(|| covered.as_ref().map(|covered| covered.mode() & 0o7777)).unwrap_or(0o1777);
    let mut words = vec![format!("mode={mode:o}")];
    words.extend(
        covered.iter().flat_map(|covered| [format!("uid={}", covered.uid()), format!("gid={}", covered.gid())]),
    );
    words.extend(size.map(|size| format!("size={size}")));
    // Of two words for one thing the kernel takes the later.
    for option in options {
        match option.as_str() {
            "noexec" => flags |= MountFlags::NOEXEC,
            "nosuid" => flags |= MountFlags::NOSUID,
            "nodev" => flags |= MountFlags::NODEV,
            other => words.push(other.to_owned()),
        }
    }
    let words = std::ffi::CString::new(words.join(",")).map_err(|error| error.to_string())?;
    mount("tmpfs", target, "tmpfs", flags, Some(&*words)).map_err(|error| error.to_string())
}

fn mount_disk(serial: &str, target: &str, read_only: bool, copies: bool) -> Result<(), String> {
    let disk = disk(serial)?;
    make_directory(Path::new(target))?;
    let below = fs::File::open(target).map_err(|error| error.to_string())?;
    let flags = MountFlags::NOATIME | read_only_if(read_only);
    mount(&disk, target, "ext4", flags, None).map_err(context(format!("disk `{serial}`")))?;
    // Where it has files, the directory is not empty and stays.
    fs::remove_dir(Path::new(target).join("lost+found")).ok();
    let is_empty = fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_none());
    if copies && is_empty {
        copy_up::copy_up(&below, Path::new(target)).map_err(context("files of the image"))?;
    }
    Ok(())
}

/// Mounts a directory of the host, or one path of it.
fn shared(tag: &str, kind: &str, options: &std::ffi::CStr, path: Option<&str>, target: &str) -> Result<(), String> {
    fs::create_dir_all(STAGING).map_err(|error| error.to_string())?;
    mount(tag, STAGING, kind, MountFlags::empty(), Some(options)).map_err(context(format!("share `{tag}`")))?;
    let inside = path.map_or(STAGING.to_owned(), |path| format!("{STAGING}/{path}"));
    let attached = clone_of(&inside).and_then(|tree| attach(&tree, Path::new(&inside).is_dir(), target));
    unmount(STAGING, UnmountFlags::DETACH).map_err(|error| error.to_string())?;
    fs::remove_dir(STAGING).ok();
    attached
}

/// A mount of what is at a path, not attached anywhere yet.
pub(crate) fn clone_of(path: &str) -> Result<OwnedFd, String> {
    open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
        .map_err(context(format!("`{path}`")))
}

/// Attaches a mount; its place is made where it is missing.
pub(crate) fn attach(tree: &OwnedFd, is_directory: bool, target: &str) -> Result<(), String> {
    let target = Path::new(target);
    if is_directory {
        make_directory(target)?
    } else {
        files::make_file(target)?
    }
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    move_mount(tree, "", CWD, target, flags).map_err(|error| error.to_string())
}

pub(crate) fn make_directory(path: &Path) -> Result<(), String> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(|error| error.to_string())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(|error| error.to_string())
}

/// The device of the disk with this serial number.
fn disk(serial: &str) -> Result<String, String> {
    let started = Instant::now();
    loop {
        for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
            let found = fs::read_to_string(entry.path().join("serial")).unwrap_or_default();
            if found.trim_end() == serial {
                return Ok(format!("/dev/{}", entry.file_name().to_string_lossy()));
            }
        }
        if started.elapsed() > APPEARS {
            return Err(format!("the virtual machine has no disk `{serial}`"));
        }
        sleep(Duration::from_millis(2));
    }
}
