//! Signals as a program expects to find them: none ignored, none blocked.

use std::io;

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

/// Room for `struct sigaction` of any kernel; zero is the default action.
const DEFAULT: [u64; 8] = [0; 8];
/// Bytes of the kernel's set of signals.
const SET: usize = 8;
const LAST: libc::c_int = 64;

/// Whoever started the agent may have ignored some (`nohup`), Rust ignores one, and what is ignored stays so in the program.
pub(crate) fn restore_defaults() {
    for number in 1..=LAST {
        // SAFETY: the kernel reads an action from memory that is larger than it and all zero; no handler is installed.
        #[expect(unsafe_code, reason = "the signals that a C library keeps for itself have no safe way either")]
        unsafe {
            // KILL and STOP refuse, and have no other action.
            libc::syscall(libc::SYS_rt_sigaction, number, DEFAULT.as_ptr(), std::ptr::null_mut::<libc::c_void>(), SET);
        }
    }
}

pub(crate) fn unblock() -> io::Result<()> {
    Ok(pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}
