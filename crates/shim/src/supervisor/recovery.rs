//! Recovery from a shim that died: the container's processes are killed, their control groups removed, and the exit is recorded.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Network;
use crate::directory::Directory;
use crate::error::{Doing, ShimError, ShimErrorKind};
use crate::files::replace_json;
use crate::journal::{Kind, append};
use crate::namespace::Joined;
use crate::orphans;
use crate::record::{Config, ExitStatus, Phase, State, boot};
use crate::{cgroup, cgroup_setup};

/// Longest wait for killed processes to be gone.
const LONGEST: Duration = Duration::from_secs(10);

/// Kills the container's processes, from outside of its user namespace.
pub(crate) fn kill(directory: &Directory, config: &Config, state: &State) -> Result<(), ShimError> {
    if state.boot != boot() {
        return Ok(());
    }
    let groups = groups(config);
    match config.user_namespace {
        Some(_) => kill_all(|| orphans::of(directory), &groups),
        None => kill_all(|| cgroup::processes(&groups), &groups),
    }
}

/// Records the exit once the processes are gone, and removes what the run used.
pub(crate) fn recover(
    directory: &Directory,
    config: &Config,
    mut state: State,
    network: &mut dyn Network,
    joined: Option<&Joined>,
) -> Result<(), ShimError> {
    let same_boot = state.boot == boot();
    if same_boot {
        cgroup::remove(&groups(config)).doing("remove its cgroups")?;
    }
    match joined.filter(|_| config.own_network) {
        Some(joined) => joined.beside(|| network.detach(config))?,
        None => network.detach(config)?,
    }
    clear(directory);
    let error = if same_boot { "its supervisor was killed, which killed it" } else { "the host was rebooted" };
    let was_started = state.phase == Phase::Running;
    state.phase = if was_started { Phase::Stopped } else { Phase::Failed };
    state.pid = None;
    state.finished = Some(hythe_host::now());
    let end = ExitStatus { code: 137, signal: Some(9), error: Some(error.to_owned()), ..ExitStatus::default() };
    state.exit = Some(end.clone());
    replace_json(&directory.state(), &state, true).doing("record its end")?;
    if was_started {
        append(&config.journal, &config.id, &config.metadata, Kind::Stopped(end)).doing("record its exit")?;
    }
    Ok(())
}

/// Files of a run that mean nothing without it.
pub(crate) fn clear(directory: &Directory) {
    for name in ["shim.sock", "console.sock", "run.next", "held"] {
        // Absent is what is wanted.
        let _ = fs::remove_file(directory.at(name));
    }
    let engine = directory.engine();
    // Mounted for the shim that made it, and for nobody else.
    let _ = rustix::mount::unmount(&engine, rustix::mount::UnmountFlags::DETACH);
    let _ = fs::remove_dir_all(engine);
}

/// Its control groups, found by their path; without delegation an unprivileged user has none.
pub(crate) fn groups(config: &Config) -> Vec<PathBuf> {
    cgroup::of_path(group_path(config))
}

/// Their path; empty: it has none.
pub(super) fn group_path(config: &Config) -> &str {
    cgroup_setup::path_of(&config.spec)
}

fn kill_all(processes: impl Fn() -> io::Result<Vec<i32>>, groups: &[PathBuf]) -> Result<(), ShimError> {
    let began = Instant::now();
    loop {
        let pids = processes().doing("look for its processes")?;
        if pids.is_empty() {
            return Ok(());
        }
        for pid in pids.into_iter().filter_map(Pid::from_raw) {
            // One that has just ended needs no killing.
            let _ = kill_process(pid, Signal::KILL);
        }
        if cgroup::is_frozen(groups) {
            cgroup::freeze(groups, false).doing("thaw its processes")?;
        }
        if began.elapsed() > LONGEST {
            return Err(ShimError::new(ShimErrorKind::Internal, "its processes cannot be killed"));
        }
        // They are nobody's children here: there is no event to wait for.
        std::thread::sleep(Duration::from_millis(5));
    }
}
