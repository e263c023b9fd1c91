//! What a dead shim left: its container's processes are killed, their groups removed, and its end recorded as what it was.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};

use super::Network;
use crate::cgroup;
use crate::directory::Directory;
use crate::error::{Doing, Fault, FaultKind};
use crate::files::replace_json;
use crate::journal::{Kind, append};
use crate::namespace::Joined;
use crate::record::{End, Launch, Phase, Run, boot};
use crate::remains;

/// Longest wait for killed processes to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Kills what is left of it, from outside of its user namespace.
pub(crate) fn kill(directory: &Directory, launch: &Launch, run: &Run) -> Result<(), Fault> {
    if run.boot != boot() {
        return Ok(());
    }
    let groups = groups(launch);
    match launch.user_namespace {
        Some(_) => kill_all(|| remains::of(directory), &groups),
        None => kill_all(|| cgroup::processes(&groups), &groups),
    }
}

/// Records what is killed as what it was, once nothing is left of it but files.
pub(crate) fn settle(
    directory: &Directory,
    launch: &Launch,
    mut run: Run,
    network: &mut dyn Network,
    joined: Option<&Joined>,
) -> Result<(), Fault> {
    let same_boot = run.boot == boot();
    if same_boot {
        cgroup::remove(&groups(launch)).doing("remove its control groups")?;
    }
    match joined.filter(|_| launch.own_network) {
        Some(joined) => joined.beside(|| network.detach(launch))?,
        None => network.detach(launch)?,
    }
    clear(directory);
    let error = if same_boot { "its supervisor was killed, and it with it" } else { "the machine was restarted" };
    let was_started = run.phase == Phase::Running;
    run.phase = if was_started { Phase::Ended } else { Phase::Failed };
    run.pid = None;
    run.finished = Some(Timestamp::now());
    let end = End { code: 137, signal: Some(9), oom: false, error: Some(error.to_owned()) };
    run.end = Some(end.clone());
    replace_json(&directory.run(), &run, true).doing("record its end")?;
    if was_started {
        append(&launch.journal, &launch.id, &launch.about, Kind::Stopped(end)).doing("tell its end")?;
    }
    Ok(())
}

/// Files of a run that mean nothing without it.
pub(crate) fn clear(directory: &Directory) {
    for name in ["shim.sock", "console.sock", "run.next", "held"] {
        // Absent is what is wanted.
        let _ = fs::remove_file(directory.at(name));
    }
    let _ = fs::remove_dir_all(directory.at("engine"));
}

/// Its control groups, found by their path; an ordinary user has none.
pub(crate) fn groups(launch: &Launch) -> Vec<PathBuf> {
    if launch.user_namespace.is_some() {
        return Vec::new();
    }
    cgroup::of_path(launch.spec.pointer("/linux/cgroupsPath").and_then(|path| path.as_str()).unwrap_or_default())
}

fn kill_all(processes: impl Fn() -> io::Result<Vec<i32>>, groups: &[PathBuf]) -> Result<(), Fault> {
    let began = Instant::now();
    loop {
        let pids = processes().doing("look for what is left of it")?;
        if pids.is_empty() {
            return Ok(());
        }
        for pid in pids.into_iter().filter_map(Pid::from_raw) {
            // One that has just ended needs no killing.
            let _ = kill_process(pid, Signal::KILL);
        }
        if cgroup::is_frozen(groups) {
            cgroup::freeze(groups, false).doing("thaw what is left of it")?;
        }
        if began.elapsed() > PATIENCE {
            return Err(Fault::new(FaultKind::Internal, "what is left of it cannot be killed"));
        }
        // They are nobody's children here: there is no event to wait for.
        std::thread::sleep(Duration::from_millis(5));
    }
}
