//! The session keyring of a container: its own, so that no workload finds the keys of whoever started the agent, or another's.

use std::io;

use nix::libc;

use crate::error::{Doing, ShimError, ShimErrorKind};

const JOIN_SESSION_KEYRING: libc::c_ulong = 1;

/// Goes over to a new session keyring, for this process and all it will start.
pub(crate) fn join_new() -> Result<(), ShimError> {
    let no_name: *const libc::c_char = std::ptr::null();
    // SAFETY: the call takes a name or none, and none is given.
    #[expect(unsafe_code, reason = "neither rustix nor nix knows keyctl")]
    let outcome = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, no_name) };
    if outcome >= 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // Without keyrings, or below a filter that the container will be below too, there is nothing to be found.
        Some(libc::ENOSYS | libc::EPERM) => Ok(()),
        Some(libc::EDQUOT) => Err(ShimError::new(
            ShimErrorKind::Exhausted,
            "this user has no room for another session keyring: raise `kernel.keys.maxkeys`",
        )),
        _ => Err(error).doing("make a session keyring"),
    }
}
