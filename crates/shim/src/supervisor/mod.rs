//! The life of a shim.
//!
//! ```text
//! starting -> running -> stopped
//!          \-> failed
//! ```
//! Each arrow is one renamed record. Before `starting` is on the disk nothing is made; after `stopped` is, nothing is left but files.

mod attach;
mod container;
mod event_loop;
mod exec;
mod exit;
mod freeze;
mod output;
mod payload;
mod prepare;
mod recovery;
mod task;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;

use nix::unistd::{ForkResult, fork, setsid};
use serde::Serialize;
use serde_json::Value;

pub use attach::{Client, Role};
pub use event_loop::block_signals;
pub(crate) use output::set_size;
pub use prepare::own_network;
pub(crate) use task::mount_one;

use crate::directory::Directory;
use crate::error::{ShimError, ShimErrorKind};
use crate::files::read_json;
use crate::namespace;
use crate::record::{Config, Phase, State};

/// What the kernel calls the process.
const NAME: &std::ffi::CStr = c"hythe-shim";

/// What connects a container to networks, for as long as its shim lives.
pub trait Network: Send {
    /// Takes what a container needs of the host's own network, before the shim leaves it for another.
    ///
    /// # Errors
    /// Something is taken, or may not be had.
    fn reserve(&mut self, config: &Config) -> Result<(), ShimError>;

    /// Connects a network namespace; what it gives is recorded with the state.
    ///
    /// # Errors
    /// Then nothing is left connected.
    fn attach(&mut self, config: &Config, namespace: &Path) -> Result<Value, ShimError>;

    /// A descriptor that is readable when [`Network::turn`] has something to do.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// Does what there is to do, without waiting.
    ///
    /// # Errors
    /// It is of no more use.
    fn turn(&mut self) -> io::Result<()>;

    /// Disconnects. Not connected: success.
    ///
    /// # Errors
    /// Something is left, to be found later.
    fn detach(&mut self, config: &Config) -> Result<(), ShimError>;
}

/// No network but what the kernel gives.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNetwork;

impl Network for NoNetwork {
    fn reserve(&mut self, _launch: &Config) -> Result<(), ShimError> {
        Ok(())
    }

    fn attach(&mut self, _launch: &Config, _namespace: &Path) -> Result<Value, ShimError> {
        Ok(Value::Null)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn turn(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn detach(&mut self, _launch: &Config) -> Result<(), ShimError> {
        Ok(())
    }
}

/// What the starter is told, one document on stdout.
#[derive(Debug, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Report {
    /// The main process was executed, or what a dead shim left was recovered.
    Done,
    /// Another shim has the lock.
    #[serde(rename = "held")]
    Locked,
    /// It could not be started.
    Failed(ShimError),
}

/// The whole life of a shim for `directory`: `start` or `recover`; `task` for one whose container is a task of
/// containerd, `resume` for one that takes the place of a killed one there. See [`supervise`].
pub fn run(verb: &str, directory: &Path, network: &mut dyn Network) -> i32 {
    supervise(directory, |directory| begin(verb, directory, network))
}

/// Runs the life of a supervisor in a process of its own, which has the instance's lock; the one called returns at once. What
/// the life gives is reported to the starter, unless it has reported itself ([`report_and_close`]).
///
/// Must be called by a process with one thread, which does nothing else.
pub fn supervise(directory: &Path, life: impl FnOnce(&Directory) -> Result<Option<Report>, ShimError>) -> i32 {
    let directory = Directory::new(directory);
    // SAFETY: the process has one thread, so nothing is left locked in the child.
    #[expect(unsafe_code, reason = "to outlive its starter and to leave it no child to reap, it must be a grandchild")]
    match unsafe { fork() } {
        Ok(ForkResult::Parent { .. }) => 0,
        Ok(ForkResult::Child) => {
            let report = match locked(&directory, life) {
                Ok(report) => report,
                Err(fault) => Some(Report::Failed(fault)),
            };
            if let Some(report) = report {
                tell(&report);
            }
            0
        }
        Err(error) => {
            tell(&Report::Failed(ShimError::new(ShimErrorKind::Exhausted, format!("cannot fork: {error}"))));
            1
        }
    }
}

fn tell(report: &impl Serialize) {
    let mut line = serde_json::to_vec(report).unwrap_or_default();
    line.push(b'\n');
    // Who does not listen any more reads the record.
    let _ = io::stdout().write_all(&line);
}

/// Tells, and lets go of the pipe it was told on.
pub fn report_and_close(report: &impl Serialize) {
    tell(report);
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}

fn locked(
    directory: &Directory,
    life: impl FnOnce(&Directory) -> Result<Option<Report>, ShimError>,
) -> Result<Option<Report>, ShimError> {
    use crate::error::Doing as _;
    setsid().doing("make a session")?;
    // It may have been started as `/proc/self/exe`, and would be called so.
    nix::sys::prctl::set_name(NAME).doing("take a name")?;
    std::env::set_current_dir("/").doing("go to `/`")?;
    // What is made for the workload is for its users too, and its processes begin with this.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let Some(_lock) = directory.lock().doing("lock the instance")? else { return Ok(Some(Report::Locked)) };
    life(directory)
}

fn begin(verb: &str, directory: &Directory, network: &mut dyn Network) -> Result<Option<Report>, ShimError> {
    use crate::error::Doing as _;
    let config: Config = read_json(&directory.config()).doing("read the instance")?;
    let state: Option<State> = read_json(&directory.state()).ok();
    let unfinished = state.filter(|state| matches!(state.phase, Phase::Starting | Phase::Running));
    if let Some(state) = &unfinished {
        recovery::kill(directory, &config, state)?;
    }
    let joined = config.user_namespace.as_deref().map(namespace::join).transpose()?;
    crate::keyring::join_new()?;
    if let Some(state) = unfinished {
        recovery::recover(directory, &config, state, network, joined.as_ref())?;
    }
    match verb {
        "start" => event_loop::run(directory, &config, network, joined.as_ref()).map(|()| None),
        "task" => task::run(directory, &config, network).map(|()| None),
        "resume" => task::resume(directory, &config, network).map(|()| None),
        _ => Ok(Some(Report::Done)),
    }
}
