//! Children by their descriptor, which no other process ever inherits as it may inherit a number.

use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The process with that number now; `None` where it is gone.
pub(crate) fn open(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Sends a signal; whether the process was there to take it.
pub(crate) fn signal(process: &OwnedFd, signal: Signal) -> bool {
    pidfd_send_signal(process, signal).is_ok()
}
