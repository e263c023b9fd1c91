//! Closing what is open by number, where a process is about to touch what an image brought.

use std::os::fd::RawFd;

use nix::libc;

/// Closes everything but stdio and these.
pub(crate) fn close_all_but(kept: &[RawFd]) {
    let mut kept: Vec<RawFd> = kept.iter().copied().filter(|fd| *fd > 2).collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept {
        if fd > first {
            close(first, fd - 1);
        }
        first = fd + 1;
    }
    close(first, RawFd::MAX);
}

fn close(first: RawFd, last: RawFd) {
    // SAFETY: a call without pointers; whoever calls uses no descriptor from here on but those it keeps.
    #[expect(unsafe_code, reason = "closing descriptors by number cannot be said safely")]
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0u32) };
    if outcome != 0 {
        one_by_one(first, last);
    }
}

/// For kernels before 5.9, and filters around the agent that do not know the call.
fn one_by_one(first: RawFd, last: RawFd) {
    let listed = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let open: Vec<RawFd> = listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| (first..=last).contains(fd)) {
        // SAFETY: as above.
        #[expect(unsafe_code, reason = "closing descriptors by number cannot be said safely")]
        unsafe {
            libc::close(fd);
        }
    }
}
