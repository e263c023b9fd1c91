//! Processes that are killed before a system call by which they would change something: the nth, counted over all their threads.

use std::collections::HashMap;
use std::io::Write;
use std::process::Child;

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use syscalls::Sysno;

/// What changes files, processes or the kernel's tables, or speaks to somebody who does and hears the answer. By name, since machines differ in which of them they have.
const CHANGES: &[&str] = &[
    "bind",
    "chmod",
    "clone",
    "clone3",
    "connect",
    "fallocate",
    "fchmod",
    "fchmodat",
    "fdatasync",
    "flock",
    "fork",
    "fsync",
    "ftruncate",
    "kill",
    "mkdir",
    "mkdirat",
    "mount",
    "pwrite64",
    "recvmsg",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendmsg",
    "sendto",
    "setns",
    "symlink",
    "symlinkat",
    "umount2",
    "unlink",
    "unlinkat",
    "unshare",
    "vfork",
    "wait4",
    "write",
    "writev",
];
/// Threads of a runtime wake each other with so many bytes.
const WAKE: u64 = 8;
const CREATES: u64 = nix::libc::O_CREAT as u64;
const PLAIN: Options = Options::PTRACE_O_TRACESYSGOOD.union(Options::PTRACE_O_EXITKILL);
const THREADS: Options = PLAIN.union(Options::PTRACE_O_TRACECLONE);
const CHILDREN: Options =
    THREADS.union(Options::PTRACE_O_TRACEFORK).union(Options::PTRACE_O_TRACEVFORK).union(Options::PTRACE_O_TRACEEXEC);

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Became {
    /// Killed before this call.
    Killed(Sysno),
    /// It ended, or did what it was to do, before it came so far.
    Ended,
}

/// Lets a process, which waits for a byte on its stdin, go on until its nth change.
pub(crate) fn caller(mut child: Child, nth: usize) -> Became {
    let leader = take_hold(&child, THREADS);
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    Trace::until(nth).follow(leader, |_| true)
}

/// The same, where the one that is killed is the supervisor that the process starts: the child of its child.
pub(crate) fn started_by(mut child: Child, nth: usize) -> Became {
    let leader = take_hold(&child, CHILDREN);
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let mut others: Vec<Pid> = Vec::new();
    let mut trace = Trace::until(nth);
    let became = trace.follow(leader, |thread| {
        if group_of(thread) != Some(leader) && !others.contains(&thread) {
            others.push(thread);
            if others.len() == 2 {
                // What it makes is not traced.
                ptrace::setoptions(thread, PLAIN).unwrap();
            }
        }
        others.get(1) == Some(&thread)
    });
    if let (Became::Ended, Some(supervisor)) = (became, others.get(1)) {
        let_go(*supervisor);
    }
    became
}

/// Lets a process that is there go on until its nth change, while something is done that concerns it.
pub(crate) fn running(pid: i32, nth: usize, act: impl FnOnce() + Send) -> Became {
    let pid = Pid::from_raw(pid);
    ptrace::seize(pid, PLAIN).unwrap();
    ptrace::interrupt(pid).unwrap();
    std::thread::scope(|scope| {
        let acting = scope.spawn(act);
        // Only for this one: what is done meanwhile has children of its own.
        let became = Trace { waits_for: Some(pid), ..Trace::until(nth) }.follow(pid, |_| true);
        // A panic goes on with its own words; the scope would say only that there was one.
        acting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        became
    })
}

fn take_hold(child: &Child, options: Options) -> Pid {
    let leader = Pid::from_raw(child.id().cast_signed());
    for thread in hythe_host_leaks::names(format!("/proc/{leader}/task")) {
        let thread = Pid::from_raw(thread.parse().unwrap());
        ptrace::seize(thread, options).unwrap();
        ptrace::interrupt(thread).unwrap();
    }
    leader
}

/// Of a row of the same call by one thread, as when it writes a large file, only so many are told from each other.
const ROW: usize = 3;

struct Trace {
    /// All children where it is none.
    waits_for: Option<Pid>,
    nth: usize,
    passed: usize,
    killed: Option<Sysno>,
    /// What each thread did last, and how often in a row.
    rows: HashMap<Pid, (Sysno, usize)>,
}

impl Trace {
    fn until(nth: usize) -> Self {
        Self { waits_for: None, nth, passed: 0, killed: None, rows: HashMap::new() }
    }

    /// Until the end of `until`; changes of whom `counts` says are counted, and it is the one that is killed.
    fn follow(&mut self, until: Pid, mut counts: impl FnMut(Pid) -> bool) -> Became {
        loop {
            match waitpid(self.waits_for, Some(WaitPidFlag::__WALL)).unwrap() {
                WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) if pid == until => {
                    return self.killed.map_or(Became::Ended, Became::Killed);
                }
                WaitStatus::PtraceSyscall(thread) => {
                    if counts(thread) && self.killed.is_none() && self.is_the_one(thread) {
                        kill(group_of(thread).unwrap_or(thread), Signal::SIGKILL).unwrap();
                    } else {
                        goes_on(thread, None);
                    }
                }
                WaitStatus::PtraceEvent(thread, ..) => {
                    counts(thread);
                    goes_on(thread, None);
                }
                WaitStatus::Stopped(thread, signal) => goes_on(thread, Some(signal)),
                _ => {}
            }
        }
    }

    fn is_the_one(&mut self, thread: Pid) -> bool {
        let Some(call) = change(thread) else { return false };
        let row = self.rows.entry(thread).or_insert((call, 0));
        *row = if row.0 == call { (call, row.1 + 1) } else { (call, 1) };
        if row.1 > ROW {
            return false;
        }
        self.passed += 1;
        if self.passed == self.nth {
            self.killed = Some(call);
        }
        self.killed.is_some()
    }
}

fn goes_on(thread: Pid, signal: Option<Signal>) {
    // Its process may be dying.
    let _ = ptrace::syscall(thread, signal);
}

fn let_go(pid: Pid) {
    ptrace::interrupt(pid).unwrap();
    waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap();
    ptrace::detach(pid, None).unwrap();
}

fn group_of(thread: Pid) -> Option<Pid> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    group.trim().parse().ok().map(Pid::from_raw)
}

/// The call that a thread is about to make, where it changes something.
fn change(thread: Pid) -> Option<Sysno> {
    let is_entry = ptrace::syscall_info(thread).ok()?.op == nix::libc::PTRACE_SYSCALL_INFO_ENTRY;
    let line = std::fs::read_to_string(format!("/proc/{thread}/syscall")).ok()?;
    let mut words = line.split_whitespace();
    let call = Sysno::new(words.next()?.parse().ok()?)?;
    let arguments: Vec<u64> =
        words.map_while(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok()).collect();
    let changes = match call.name() {
        "openat" => arguments[2] & CREATES != 0,
        "write" => arguments[2] != WAKE,
        "read" => is_answer(thread, arguments[0]),
        name => CHANGES.contains(&name),
    };
    (is_entry && changes).then_some(call)
}

/// Whether somebody else answers there: it was asked for something, and dies before it hears what became of that.
fn is_answer(thread: Pid, descriptor: u64) -> bool {
    let target = std::fs::read_link(format!("/proc/{thread}/fd/{descriptor}")).unwrap_or_default();
    descriptor > 2 && target.to_string_lossy().starts_with("pipe:")
}
