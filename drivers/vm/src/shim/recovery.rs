//! Recovery from a supervisor that died: QEMU is killed if it lives, and the exit is recorded.

use std::fs;
use std::time::{Duration, Instant};

use hythe_network::shim_network::ShimNetwork;
use hythe_shim::files::{read_json, replace_json};
use hythe_shim::journal::{Kind, append};
use hythe_shim::record::{ExitStatus, Phase, State, boot};
use hythe_shim::{Directory, Doing as _, Network as _, ShimError, ShimErrorKind};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::translate::Launch;

/// Longest wait for a killed QEMU to be gone.
const LONGEST: Duration = Duration::from_secs(10);
const QEMU: &str = "qemu.json";

/// A process that no other can be taken for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessId {
    pid: i32,
    /// In ticks since the boot.
    started: u64,
    boot: String,
}

impl ProcessId {
    /// `None`: there is no such process.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may have spaces and parentheses.
        let started = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
        Some(Self { pid, started, boot: boot() })
    }

    pub(super) fn write(&self, directory: &Directory) -> Result<(), ShimError> {
        replace_json(&directory.at(QEMU), self, false).doing("record QEMU's process")
    }

    fn lives(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }
}

/// Records the exit once QEMU is gone, and removes what the run used.
pub(super) fn recover(
    directory: &Directory,
    launch: &Launch,
    mut state: State,
    network: &mut ShimNetwork,
) -> Result<(), ShimError> {
    kill_left(directory)?;
    if launch.shim.own_network {
        network.detach(&launch.shim)?;
    }
    clear(directory);
    let same_boot = state.boot == boot();
    let error = if same_boot { "its supervisor was killed, which killed it" } else { "the host was rebooted" };
    let was_started = state.phase == Phase::Running;
    state.phase = if was_started { Phase::Stopped } else { Phase::Failed };
    state.pid = None;
    state.paused = false;
    state.finished = Some(hythe_host::now());
    let end = ExitStatus { code: 137, signal: Some(9), error: Some(error.to_owned()), ..ExitStatus::default() };
    state.exit = Some(end.clone());
    replace_json(&directory.state(), &state, true).doing("record its end")?;
    if was_started {
        append(&launch.shim.journal, &launch.shim.id, &launch.shim.metadata, Kind::Stopped(end))
            .doing("record its exit")?;
    }
    Ok(())
}

fn kill_left(directory: &Directory) -> Result<(), ShimError> {
    let Ok(left) = read_json::<ProcessId>(&directory.at(QEMU)) else { return Ok(()) };
    let began = Instant::now();
    while left.lives() {
        if let Some(pid) = Pid::from_raw(left.pid) {
            // One that has just ended needs no killing.
            let _ = kill_process(pid, Signal::KILL);
        }
        if began.elapsed() > LONGEST {
            return Err(ShimError::new(ShimErrorKind::Internal, "its QEMU cannot be killed"));
        }
        // It is nobody's child here: there is no event to wait for.
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Files of a run that mean nothing without it.
pub(super) fn clear(directory: &Directory) {
    for name in ["shim.sock", "run.next", QEMU, "guest.json"] {
        // Absent is what is wanted.
        let _ = fs::remove_file(directory.at(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_pid_and_its_start() {
        let own = i32::try_from(std::process::id()).ok().and_then(ProcessId::of);
        assert!(own.as_ref().is_some_and(ProcessId::lives));
        let earlier = own.map(|own| ProcessId { started: own.started - 1, ..own });
        assert!(earlier.is_some_and(|earlier| !earlier.lives()));
    }
}
