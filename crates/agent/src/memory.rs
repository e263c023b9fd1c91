//! A place for secrets on a file system in memory.

use std::path::{Path, PathBuf};

const TMPFS: i128 = 0x0102_1994;
const RAMFS: i128 = 0x8584_58f6;

/// Where instances of this agent get their secrets from, not made yet; `None`: the host has no such file system for this user.
pub(crate) fn directory(owner: &str) -> Option<PathBuf> {
    let user = rustix::process::geteuid();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let runtime = if user.is_root() { Some(PathBuf::from("/run")) } else { runtime };
    let shared = PathBuf::from("/dev/shm");
    let places = runtime.into_iter().chain([shared]);
    let place = places.into_iter().find(|place| is_in_memory(place))?;
    Some(place.join(format!("hythe-secrets-{}", user.as_raw())).join(owner))
}

fn is_in_memory(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| matches!(i128::from(found.f_type), TMPFS | RAMFS))
}
