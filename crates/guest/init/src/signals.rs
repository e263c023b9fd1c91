//! Signals as something to read: children that have ended, and requests to power off.

use std::fs::File;
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// What programs send to the first process when they want the system to stop.
const STOP: [i32; 5] = [libc::SIGTERM, libc::SIGINT, libc::SIGPWR, libc::SIGUSR1, libc::SIGUSR2];

/// Blocks the signals and opens a descriptor for them. Children inherit the mask: see [`unblock`].
pub(crate) fn open() -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set before anything reads it; the calls take pointers to it alone, and the
    // descriptor that is returned belongs to nothing else.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in STOP.iter().chain(&[libc::SIGCHLD]) {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        if libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Lets a child have all signals; it makes system calls alone, so it may be called between fork and exec.
pub(crate) fn unblock() {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set before it is read.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
    }
}

/// Reads all signals that have come; reports whether one asks to stop.
pub(crate) fn read(fd: &OwnedFd) -> bool {
    let mut stop = false;
    let Ok(mut file) = fd.try_clone().map(File::from) else { return false };
    let mut record = [0; size_of::<libc::signalfd_siginfo>()];
    while file.read_exact(&mut record).is_ok() {
        let number = u32::from_ne_bytes([record[0], record[1], record[2], record[3]]);
        stop |= STOP.iter().any(|signal| u32::try_from(*signal) == Ok(number));
    }
    stop
}

/// Sends a signal to every process but this one.
pub(crate) fn kill_all() {
    // SAFETY: the call has no memory to corrupt; -1 are all processes but the first.
    unsafe {
        libc::kill(-1, libc::SIGKILL);
    }
}
