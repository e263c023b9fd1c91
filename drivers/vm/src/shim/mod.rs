//! This program as the supervisor of a virtual machine: the parent of QEMU.
//!
//! ```text
//! starting -> running -> stopped      `starting` until the main process runs in the guest
//!          \-> failed
//! ```
//! One loop of its own beside that of `hythe_shim`: the main process is no child of ours, its end and its streams come from the
//! guest, and processes beside it are the guest's. What both loops need (records, log, journal, clients) is `hythe_shim`'s.
//! QEMU dies with its supervisor, so that nothing runs unsupervised.

mod clients;
mod console;
mod control;
mod end;
mod ending;
mod execs;
mod guest_files;
mod heard;
mod machine;
mod qemu;
mod qmp;
mod recovery;

use std::ffi::OsString;
use std::path::PathBuf;

use hythe_network::shim_network::ShimNetwork;
use hythe_shim::files::read_json;
use hythe_shim::record::{Phase, State};
use hythe_shim::{Directory, Doing as _, Report, ShimError};

use crate::translate::Launch;

pub(crate) use end::exit;

/// Verb that starts a virtual machine.
pub(crate) const START: &str = "vm-start";
/// Verb that records the end of one whose supervisor died.
pub(crate) const RECOVER: &str = "vm-recover";

/// Runs this process as the supervisor of a virtual machine where its arguments (without the program) say so: `shim VERB DIRECTORY`;
/// gives its exit code. `None`: they do not. Must be called first, while the process has one thread.
#[must_use]
pub fn shim(arguments: impl IntoIterator<Item = OsString>) -> Option<i32> {
    let mut arguments = arguments.into_iter();
    let (word, verb, directory) = (arguments.next()?, arguments.next()?, arguments.next()?);
    let is_start = verb == START;
    if word != "shim" || arguments.next().is_some() || !(is_start || verb == RECOVER) {
        return None;
    }
    Some(hythe_shim::supervise(&PathBuf::from(directory), |directory| live(directory, is_start)))
}

fn live(directory: &Directory, start: bool) -> Result<Option<Report>, ShimError> {
    let launch: Launch = read_json(&directory.config()).doing("read the instance")?;
    let mut network = ShimNetwork::default();
    let state: Option<State> = read_json(&directory.state()).ok();
    if let Some(state) = state.filter(|state| matches!(state.phase, Phase::Starting | Phase::Running)) {
        recovery::recover(directory, &launch, state, &mut network)?;
    }
    if !start {
        return Ok(Some(Report::Done));
    }
    machine::run(directory, &launch, &mut network).map(|()| None)
}
