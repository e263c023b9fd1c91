//! The last step before a process becomes what the user asked for, inside the container: rights, filter, then the program, below an init where asked.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, execv, fork};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities};

use crate::Fault;
use crate::creator::{Filter, Word, tell};
use crate::record::Process;
use crate::users::Guise;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    pub(crate) process: Process,
    pub(crate) guise: Option<Guise>,
    /// Where a failure is told; closed by the kernel when the program is executed.
    pub(crate) status: Arc<OwnedFd>,
    /// It is the container's first process, and dies with the shim.
    pub(crate) is_first: bool,
}

impl Executor for Payload {
    fn exec(&self, _spec: &Spec) -> Result<(), ExecutorError> {
        let fault = match self.become_it() {
            Err(fault) => fault,
            Ok(never) => match never {},
        };
        let code = fault.code.unwrap_or(126);
        tell(self.status.as_fd(), &Word::Fault(fault));
        leave(code)
    }

    fn validate(&self, _spec: &Spec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }
}

#[expect(clippy::exit, reason = "a process of the container that has nothing to return to")]
fn leave(code: i32) -> ! {
    std::process::exit(code)
}

enum Never {}

fn step<T>(what: &str, outcome: Result<T, impl Into<io::Error>>) -> Result<T, Fault> {
    use crate::error::Doing as _;
    outcome.doing(what)
}

impl Payload {
    fn become_it(&self) -> Result<Never, Fault> {
        self.enter_workdir()?;
        if self.process.init { self.below_init() } else { self.execute() }
    }

    fn enter_workdir(&self) -> Result<(), Fault> {
        let path = &self.process.workdir;
        if std::env::set_current_dir(path).is_ok() {
            return Ok(());
        }
        let entered = std::fs::create_dir_all(path).and_then(|()| std::env::set_current_dir(path));
        entered.map_err(|error| Fault::invalid(format!("cannot use the working directory `{path}`: {error}")))
    }

    /// Goes on as the init; a child goes on as the program.
    fn below_init(&self) -> Result<Never, Fault> {
        step("block signals", pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None))?;
        // SAFETY: this process has one thread, so nothing is left locked in the child.
        #[expect(unsafe_code, reason = "there is no other way to have a child that runs our code")]
        match step("fork below the init", unsafe { fork() })? {
            ForkResult::Child => {
                self.lead_terminal()?;
                self.execute()
            }
            ForkResult::Parent { child } => init(child),
        }
    }

    /// A process group of its own in the foreground, so that the terminal's signals reach the program and not the init.
    fn lead_terminal(&self) -> Result<(), Fault> {
        step("make a process group", rustix::process::setpgid(None, None))?;
        if self.process.tty {
            step("take the terminal", rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpgrp()))?;
        }
        Ok(())
    }

    fn execute(&self) -> Result<Never, Fault> {
        let process = &self.process;
        if let Some(guise) = self.guise {
            // Nothing of the machine may be found in a process that others in the container can look into.
            close_from(3, Some(self.status.as_raw_fd()));
            crate::namespace::disguise(guise)?;
        }
        if process.no_new_privileges {
            drop_rights(&process.capabilities)?;
            install(&process.filters)?;
        } else {
            // Without that promise installing a filter is a privilege, lost with the others.
            install(&process.filters)?;
            drop_rights(&process.capabilities)?;
        }
        if self.is_first && !process.init {
            step("die with the shim", set_parent_process_death_signal(Some(Signal::KILL)))?;
        }
        default_pipe_signal();
        step("unblock signals", pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None))?;
        Err(search_and_execute(&process.arguments))
    }
}

/// Rust ignores it, and what is ignored stays so in the program.
fn default_pipe_signal() {
    // SAFETY: no handler is installed, only the default restored.
    #[expect(unsafe_code, reason = "neither rustix nor nix has a safe way to restore a default")]
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// Only these capabilities, and for an ordinary user none but as the bounding set.
fn drop_rights(names: &[String]) -> Result<(), Fault> {
    let mut wanted = CapabilitySet::empty();
    for name in names {
        wanted |= CapabilitySet::from_name(name).ok_or_else(|| Fault::invalid(format!("no capability `{name}`")))?;
    }
    for one in (!wanted).iter() {
        match rustix::thread::remove_capability_from_bounding_set(one) {
            // This kernel does not know it.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return step("lower the bounding set", Err(error)),
        }
    }
    step("clear ambient capabilities", clear_ambient_capability_set())?;
    let had = step("read capabilities", capabilities(None))?;
    let is_root = rustix::process::geteuid().is_root();
    let kept = if is_root { wanted & had.permitted } else { CapabilitySet::empty() };
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    step("lower capabilities", set_capabilities(None, sets))
}

fn install(filters: &[Filter]) -> Result<(), Fault> {
    filters.iter().try_for_each(|filter| step("install the system call filter", filter.install()))
}

/// Tries what the shell would try. Returns only on failure.
fn search_and_execute(arguments: &[String]) -> Fault {
    let Some(program) = arguments.first() else { return Fault::invalid("there is no command to execute") };
    let c_string = |text: &str| CString::new(text);
    let Ok(words) = arguments.iter().map(|word| c_string(word)).collect::<Result<Vec<_>, _>>() else {
        return Fault::invalid(format!("the command `{program}` has a zero byte in it"));
    };
    let path = std::env::var("PATH").unwrap_or_default();
    let places: Vec<String> = if program.contains('/') {
        vec![program.clone()]
    } else {
        path.split(':')
            .map(|place| if place.is_empty() { program.clone() } else { format!("{place}/{program}") })
            .collect()
    };
    let mut outcome = nix::Error::ENOENT;
    for place in places {
        let Ok(place) = CString::new(place) else { continue };
        match execv(&place, &words) {
            Err(nix::Error::ENOENT | nix::Error::ENOTDIR) => {}
            Err(error) => outcome = error,
            Ok(never) => match never {},
        }
    }
    let (code, text) = match outcome {
        nix::Error::ENOENT => (127, "not found".to_owned()),
        error => (126, error.desc().to_lowercase()),
    };
    Fault { code: Some(code), ..Fault::invalid(format!("cannot execute `{program}`: {text}")) }
}

/// The container's first process: hands signals on and reaps, until the program ends.
fn init(child: Pid) -> ! {
    // Nobody but the shim may be the reason that it lives on.
    let _ = nix::sys::prctl::set_name(c"init");
    let kill_only = CapabilitySets {
        effective: CapabilitySet::KILL,
        permitted: CapabilitySet::KILL,
        inheritable: CapabilitySet::empty(),
    };
    let _ = set_capabilities(None, kill_only);
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    // Above all the status pipe, which must close when the program is executed.
    close_from(3, None);
    let Ok(signals) = SignalFd::with_flags(&SigSet::all(), SfdFlags::empty()) else { leave(125) };
    loop {
        if let Some(code) = reap(child) {
            leave(code);
        }
        let Ok(Some(received)) = signals.read_signal() else { continue };
        let number = i32::try_from(received.ssi_signo).unwrap_or(libc::SIGCHLD);
        if number != libc::SIGCHLD {
            // It may have ended just now.
            let _ = signal(child.as_raw(), number);
        }
    }
}

/// Every descriptor from a number on, but that one.
fn close_from(first: i32, but: Option<i32>) {
    let close = |first: i32, last: i32| {
        // SAFETY: this process uses no descriptor but stdio and the one that is left from here on.
        #[expect(unsafe_code, reason = "closing descriptors by number cannot be said safely")]
        unsafe {
            libc::syscall(libc::SYS_close_range, first, last, 0u32);
        }
    };
    match but {
        Some(but) => {
            if but > first {
                close(first, but - 1);
            }
            close(but + 1, i32::MAX);
        }
        None => close(first, i32::MAX),
    }
}

/// Sends a signal by number, to a child that is not reaped yet.
pub(crate) fn signal(child: i32, number: i32) -> io::Result<()> {
    // SAFETY: a call without pointers.
    #[expect(unsafe_code, reason = "real-time signals have no name in rustix or nix")]
    let outcome = unsafe { libc::kill(child, number) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reaps whoever has ended; the exit code of the program once it is among them.
fn reap(program: Pid) -> Option<i32> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == program => return Some(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => return Some(128 + signal as i32),
            Ok(WaitStatus::StillAlive) | Err(nix::Error::ECHILD) => return None,
            Ok(_) | Err(_) => {}
        }
    }
}
