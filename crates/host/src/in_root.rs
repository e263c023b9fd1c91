//! Paths resolved below a root.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;

/// Each costs microseconds, and every one of them has to meet a rename or a mount.
const TRIES: u32 = 1000;

/// `openat2(2)`, repeated where it fails with `EAGAIN`: the kernel cannot resolve a path with `..` below a root while anything on the host is renamed or mounted.
///
/// # Errors
/// Those of `openat2(2)`; `EAGAIN` after a thousand tries.
pub fn openat2(
    root: impl AsFd,
    path: impl Arg + Copy,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    for _ in 0..TRIES {
        match rustix::fs::openat2(root.as_fd(), path, flags, mode, resolve) {
            Err(Errno::AGAIN) => std::thread::yield_now(),
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn opening_below_a_root_while_files_are_renamed_succeeds() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        std::fs::create_dir_all(place("root/a/b")).unwrap();
        std::fs::write(place("old"), "").unwrap();
        let root = rustix::fs::open(place("root"), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::fs::rename(place("old"), place("new")).unwrap();
                    std::fs::rename(place("new"), place("old")).unwrap();
                }
            });
            let path = "a/../a/../a/../a/../a/../a/../a/../a/b/../b";
            let opened = (0..20_000)
                .try_for_each(|_| openat2(&root, path, OFlags::PATH, Mode::empty(), ResolveFlags::IN_ROOT).map(drop));
            over.store(true, Ordering::Relaxed);
            opened.unwrap();
        });
    }
}
