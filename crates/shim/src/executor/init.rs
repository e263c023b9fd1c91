//! The container's first process where a component asks for one: hands signals on and reaps, until the program ends.

use nix::libc;
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{leave, signal};

/// Its whole life, below all the limits of the program: it needs no more of the kernel than to read, to kill and to wait.
pub(super) fn run(program: Pid, signals: &SignalFd) -> ! {
    loop {
        if let Some(code) = reap(program, WaitPidFlag::WNOHANG) {
            leave(code);
        }
        match signals.read_signal() {
            Ok(Some(received)) => {
                let number = i32::try_from(received.ssi_signo).unwrap_or(libc::SIGCHLD);
                if number != libc::SIGCHLD {
                    // It may have ended just now.
                    let _ = signal(program.as_raw(), number);
                }
            }
            Ok(None) | Err(nix::Error::EINTR) => {}
            // A filter of the user's forbids it: then signals are lost, and the end is not.
            Err(_) => {
                if let Some(code) = reap(program, WaitPidFlag::empty()) {
                    leave(code);
                }
            }
        }
    }
}

/// Reaps whoever has ended; the exit code of the program once it is among them.
fn reap(program: Pid, how: WaitPidFlag) -> Option<i32> {
    loop {
        match waitpid(None, Some(how)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == program => return Some(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => return Some(128 + signal as i32),
            Ok(WaitStatus::StillAlive) | Err(nix::Error::ECHILD) => return None,
            Ok(_) | Err(_) => {}
        }
    }
}
