//! A process that is killed before a system call by which it would change something: the nth, counted over all its threads.

use std::io::Write;
use std::process::Child;

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use syscalls::Sysno;

/// What changes files, processes or the kernel's tables, or speaks to somebody who does and hears the answer.
const CHANGES: &[Sysno] = &[
    Sysno::chmod,
    Sysno::clone,
    Sysno::clone3,
    Sysno::connect,
    Sysno::fallocate,
    Sysno::fchmod,
    Sysno::fchmodat,
    Sysno::fdatasync,
    Sysno::flock,
    Sysno::fsync,
    Sysno::ftruncate,
    Sysno::mkdir,
    Sysno::mkdirat,
    Sysno::pwrite64,
    Sysno::rename,
    Sysno::renameat,
    Sysno::recvmsg,
    Sysno::renameat2,
    Sysno::rmdir,
    Sysno::sendmsg,
    Sysno::sendto,
    Sysno::symlink,
    Sysno::symlinkat,
    Sysno::unlink,
    Sysno::unlinkat,
    Sysno::vfork,
    Sysno::write,
    Sysno::writev,
];
/// Threads of a runtime wake each other with so many bytes.
const WAKE: u64 = 8;
const CREATES: u64 = nix::libc::O_CREAT as u64;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Became {
    /// Killed before this call.
    Killed(Sysno),
    /// It ended by itself before it came so far.
    Ended,
}

/// Lets a process, which waits for a byte on its stdin, go on until its nth change.
pub(crate) fn until(mut child: Child, nth: usize) -> Became {
    let leader = Pid::from_raw(child.id().cast_signed());
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
    for thread in hythe_traces::names(format!("/proc/{leader}/task")) {
        let thread = Pid::from_raw(thread.parse().unwrap());
        ptrace::seize(thread, options).unwrap();
        ptrace::interrupt(thread).unwrap();
    }
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let mut passed = 0;
    let mut killed = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::__WALL)).unwrap() {
            WaitStatus::Exited(pid, code) if pid == leader => {
                assert_eq!(code, 0, "the call failed");
                return Became::Ended;
            }
            WaitStatus::Signaled(pid, ..) if pid == leader => return Became::Killed(killed.unwrap()),
            WaitStatus::PtraceSyscall(thread) if killed.is_none() => {
                passed += usize::from(change(thread).is_some());
                if passed == nth {
                    killed = change(thread);
                    kill(leader, Signal::SIGKILL).unwrap();
                } else {
                    goes_on(thread, None);
                }
            }
            WaitStatus::PtraceEvent(thread, ..) => goes_on(thread, None),
            WaitStatus::Stopped(thread, signal) => goes_on(thread, Some(signal)),
            _ => {}
        }
    }
}

fn goes_on(thread: Pid, signal: Option<Signal>) {
    // Its process may be dying.
    let _ = ptrace::syscall(thread, signal);
}

/// The call that a thread is about to make, where it changes something.
fn change(thread: Pid) -> Option<Sysno> {
    let is_entry = ptrace::syscall_info(thread).ok()?.op == nix::libc::PTRACE_SYSCALL_INFO_ENTRY;
    let line = std::fs::read_to_string(format!("/proc/{thread}/syscall")).ok()?;
    let mut words = line.split_whitespace();
    let call = Sysno::new(words.next()?.parse().ok()?)?;
    let arguments: Vec<u64> =
        words.map_while(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok()).collect();
    let changes = match call {
        Sysno::openat => arguments[2] & CREATES != 0,
        Sysno::write => arguments[2] != WAKE,
        Sysno::read => is_answer(thread, arguments[0]),
        call => CHANGES.contains(&call),
    };
    (is_entry && changes).then_some(call)
}

/// Whether somebody else answers there: it was asked for something, and dies before it hears what became of that.
fn is_answer(thread: Pid, descriptor: u64) -> bool {
    let target = std::fs::read_link(format!("/proc/{thread}/fd/{descriptor}")).unwrap_or_default();
    descriptor > 2 && target.to_string_lossy().starts_with("pipe:")
}
