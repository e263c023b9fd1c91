//! The cgroup of the workload: its exact limits, where the size of the machine says them only roughly.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_move, mount_remount, unmount};

use crate::context;
use crate::protocol::Limits;

const ROOT: &str = "/sys/fs/cgroup";
const GROUP: &str = "/sys/fs/cgroup/workload";

/// Where the mount is made before it takes its place.
const ASIDE: &str = "/dev/.cgroup";
/// Microseconds over which processor time is counted.
const PERIOD: u64 = 100_000;

/// Its list of processes: who writes there moves.
static ENTRY: OnceLock<OwnedFd> = OnceLock::new();

/// Makes the group. What the guest sees of cgroups is this one, and read-only.
pub(crate) fn make(limits: &Limits) -> Result<(), String> {
    if !Path::new(ROOT).join("cgroup.controllers").exists() {
        let has_none = *limits == Limits::default();
        return has_none.then_some(()).ok_or_else(|| "this kernel has no cgroups for the limits".to_owned());
    }
    write(&format!("{ROOT}/cgroup.subtree_control"), "+cpu +memory +pids")?;
    fs::create_dir_all(GROUP).map_err(context(GROUP))?;
    if let Some(memory) = limits.memory {
        write(&format!("{GROUP}/memory.max"), &memory.to_string())?;
        match fs::write(format!("{GROUP}/memory.swap.max"), "0") {
            // A kernel without swap.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            written => written.map_err(context("memory.swap.max"))?,
        }
    }
    if let Some(cpus) = limits.cpus {
        let quota = cpus.saturating_mul(PERIOD) / 1000;
        write(&format!("{GROUP}/cpu.max"), &format!("{quota} {PERIOD}"))?;
    }
    if let Some(pids) = limits.pids {
        write(&format!("{GROUP}/pids.max"), &pids.to_string())?;
    }
    let entry = format!("{GROUP}/cgroup.procs");
    let entry = rustix::fs::open(&entry, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map_err(context(entry))?;
    ENTRY.set(entry).ok();
    // Over the other one it would hide that, and `/proc/self/mountinfo` would not.
    fs::create_dir_all(ASIDE).map_err(context(ASIDE))?;
    mount_bind(GROUP, ASIDE).map_err(context(ASIDE))?;
    unmount(ROOT, UnmountFlags::DETACH).map_err(context(ROOT))?;
    mount_move(ASIDE, ROOT).map_err(context(ROOT))?;
    fs::remove_dir(ASIDE).map_err(context(ASIDE))?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount_remount(ROOT, flags, "").map_err(context(ROOT))
}

fn write(path: &str, value: &str) -> Result<(), String> {
    fs::write(path, value).map_err(context(path))
}

/// Where a process writes `0` to join.
pub(crate) fn entry() -> Option<BorrowedFd<'static>> {
    ENTRY.get().map(|entry| entry.as_fd())
}
