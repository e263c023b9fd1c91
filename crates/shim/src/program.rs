//! This program, so that nobody who comes to it through a container can write to it (CVE-2019-5736).
//!
//! A process of a container is this program until it executes its own, and an init stays it: `/proc/PID/exe` leads to the file on the host.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::libc;
use rustix::fs::{AtFlags, CWD, MemfdFlags, SealFlags};
use rustix::mount::{OpenTreeFlags, open_tree};

const OWN: &str = "/proc/self/exe";

/// A descriptor by which to execute this program, whose file is read-only in whatever is executed: the same file behind a mount of its own, or, for who
/// may not mount, a sealed copy in memory. `None`: the file is not this user's to write anyway.
///
/// # Errors
/// Neither can be had.
pub fn read_only() -> io::Result<Option<OwnedFd>> {
    if !rustix::process::geteuid().is_root() {
        return if is_ours()? { copy().map(Some) } else { Ok(None) };
    }
    mount().or_else(|_| copy()).map(Some)
}

fn is_ours() -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let owner = std::fs::metadata(OWN)?.uid();
    Ok(owner == rustix::process::geteuid().as_raw() || rustix::fs::access(OWN, rustix::fs::Access::WRITE_OK).is_ok())
}

/// Device and inode of this program's file.
pub(crate) fn identity() -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let file = std::fs::metadata(OWN)?;
    Ok((file.dev(), file.ino()))
}

/// `struct mount_attr` of the kernel.
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

const READ_ONLY: u64 = 1;

fn mount() -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, OWN, flags)?;
    let attributes = Attributes { set: READ_ONLY, clear: 0, propagation: 0, user_namespace: 0 };
    // SAFETY: the path and the attributes live until the call returns.
    #[expect(unsafe_code, reason = "neither rustix nor nix knows mount_setattr")]
    let outcome = unsafe {
        let (fd, flags) = (tree.as_raw_fd(), AtFlags::EMPTY_PATH.bits());
        libc::syscall(libc::SYS_mount_setattr, fd, c"".as_ptr(), flags, &raw const attributes, size_of::<Attributes>())
    };
    if outcome == 0 { Ok(tree) } else { Err(io::Error::last_os_error()) }
}

fn copy() -> io::Result<OwnedFd> {
    let memory = rustix::fs::memfd_create(c"hythe", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(memory);
    io::copy(&mut File::open(OWN)?, &mut file)?;
    rustix::fs::fcntl_add_seals(
        file.as_fd(),
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    // Opened anew for reading: what is open for writing is not executed.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::open(path, rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty())?)
}
