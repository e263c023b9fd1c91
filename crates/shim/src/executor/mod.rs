//! The last step before a process becomes what the user asked for, inside the container: rights, filter, then the program, below an init where asked.

mod init;
mod mounts;
mod search;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{ForkResult, fork};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities};

use crate::ShimError;
use crate::create::{Filter, StatusMessage, report};
use crate::descriptors::close_all_but;
use crate::protocol::Size;
use crate::record::Process;
use crate::supervisor::set_size;
use crate::users::Credentials;
use crate::{signals, workdir};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    pub(crate) process: Process,
    pub(crate) env: Vec<String>,
    pub(crate) credentials: Option<Credentials>,
    /// It lives in a user namespace of an unprivileged user.
    pub(crate) rootless: bool,
    pub(crate) size: Option<Size>,
    /// Device and inode of the runtime's own program.
    pub(crate) own: (u64, u64),
    /// Where a failure is told; closed by the kernel when the program is executed.
    pub(crate) status: Arc<OwnedFd>,
    /// It is the container's first process, and dies with the shim.
    pub(crate) is_first: bool,
}

impl Executor for Payload {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let fault = match self.become_it(spec) {
            Err(fault) => fault,
            Ok(never) => match never {},
        };
        let code = fault.code.unwrap_or(126);
        report(self.status.as_fd(), StatusMessage::Error(fault));
        leave(code)
    }

    fn validate(&self, _spec: &Spec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }

    /// The program is given its own; of what an image says nothing becomes ours.
    fn setup_envs(&self, _envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }
}

#[expect(clippy::exit, reason = "a process of the container that has nothing to return to")]
fn leave(code: i32) -> ! {
    std::process::exit(code)
}

enum Never {}

fn step<T>(what: &str, outcome: Result<T, impl Into<io::Error>>) -> Result<T, ShimError> {
    use crate::error::Doing as _;
    outcome.doing(what)
}

impl Payload {
    fn become_it(&self, spec: &Spec) -> Result<Never, ShimError> {
        if self.is_first {
            mounts::check(spec)?;
        }
        // Libcontainer's own, and what led to the network: nothing is left that a path of the image could lead to.
        close_all_but(&[self.status.as_raw_fd()]);
        signals::restore_defaults();
        // An executed process finds its directory or fails; the first one's was made with the file system, but a mount may hide it.
        workdir::enter(&self.process.workdir, self.is_first)?;
        if let Some(size) = self.size {
            step("size the terminal", set_size(rustix::stdio::stdin(), size))?;
        }
        if self.process.init { self.below_init() } else { self.execute() }
    }

    /// Goes on as the init; a child goes on as the program, once the init has given up all that the program may not have.
    fn below_init(&self) -> Result<Never, ShimError> {
        step("block signals", pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None))?;
        let (ready, limited) = step("make a pipe", pipe_with(PipeFlags::CLOEXEC))?;
        // SAFETY: this process has one thread, so nothing is left locked in the child.
        #[expect(unsafe_code, reason = "there is no other way to have a child that runs our code")]
        match step("fork below the init", unsafe { fork() })? {
            ForkResult::Child => {
                drop(limited);
                // An init that cannot be limited ends, and this process with it.
                step("wait for the init", rustix::io::read(&ready, &mut [0; 1]))?;
                drop(ready);
                self.lead_terminal()?;
                self.execute()
            }
            ForkResult::Parent { child } => {
                let signals = self.limit_init()?;
                init::run(child, &signals)
            }
        }
    }

    /// The same filter, bounding set and promise as the program has, and of its capabilities only what hands signals on.
    fn limit_init(&self) -> Result<SignalFd, ShimError> {
        step("take a name", nix::sys::prctl::set_name(c"init"))?;
        // Nobody but the shim may be the reason that it lives on.
        step("die with the shim", set_parent_process_death_signal(Some(Signal::KILL)))?;
        // What it has in memory is nobody's to read. In a user namespace that would keep the agent's own processes from entering its namespaces, since its
        // memory belongs to the one outside; there it has nothing that the program has not.
        let dumpable = if self.rootless { DumpableBehavior::Dumpable } else { DumpableBehavior::NotDumpable };
        step("close the init to others", set_dumpable_behavior(dumpable))?;
        let signals = step("receive signals", SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC))?;
        self.limit(CapabilitySet::KILL)?;
        // Above all the status pipe, which must close when the program is executed.
        close_all_but(&[signals.as_fd().as_raw_fd()]);
        Ok(signals)
    }

    /// A process group of its own in the foreground, so that the terminal's signals reach the program and not the init.
    fn lead_terminal(&self) -> Result<(), ShimError> {
        step("make a process group", rustix::process::setpgid(None, None))?;
        if self.process.tty {
            step("take the terminal", rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpgrp()))?;
        }
        Ok(())
    }

    fn execute(&self) -> Result<Never, ShimError> {
        let process = &self.process;
        if let Some(credentials) = self.credentials {
            // Nothing of the host may be found in a process that others in the container can look into.
            close_all_but(&[self.status.as_raw_fd()]);
            crate::namespace::enter_nested_user_namespace(credentials)?;
        }
        self.limit(CapabilitySet::all())?;
        if self.is_first && !process.init {
            step("die with the shim", set_parent_process_death_signal(Some(Signal::KILL)))?;
        }
        step("unblock signals", signals::unblock())?;
        Err(search::execute(&process.arguments, &self.env, self.own))
    }

    /// Only the capabilities of the process, as far as they are in `kept`, and its filters.
    fn limit(&self, kept: CapabilitySet) -> Result<(), ShimError> {
        let Process { capabilities, filters, no_new_privileges, .. } = &self.process;
        if *no_new_privileges {
            step("promise to gain no privileges", rustix::thread::set_no_new_privs(true))?;
            drop_rights(capabilities, kept)?;
            install(filters)
        } else {
            // Without that promise installing a filter is a privilege, lost with the others.
            install(filters)?;
            drop_rights(capabilities, kept)
        }
    }
}

/// Only these capabilities, and for an unprivileged user none but as the bounding set.
fn drop_rights(names: &[String], mask: CapabilitySet) -> Result<(), ShimError> {
    let mut wanted = CapabilitySet::empty();
    for name in names {
        wanted |=
            CapabilitySet::from_name(name).ok_or_else(|| ShimError::invalid(format!("no capability `{name}`")))?;
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
    let kept = if is_root { wanted & had.permitted & mask } else { CapabilitySet::empty() };
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    step("lower capabilities", set_capabilities(None, sets))
}

fn install(filters: &[Filter]) -> Result<(), ShimError> {
    filters.iter().try_for_each(|filter| step("install the seccomp profile", filter.install()))
}

/// Sends a signal by number, to a child that is not reaped yet.
pub(crate) fn signal(child: i32, number: i32) -> io::Result<()> {
    // SAFETY: a call without pointers.
    #[expect(unsafe_code, reason = "real-time signals have no name in rustix or nix")]
    let outcome = unsafe { libc::kill(child, number) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
