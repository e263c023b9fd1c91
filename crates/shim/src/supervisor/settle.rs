//! What a dead shim left: its container's processes are killed, their groups removed, and its end recorded as what it was.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};

use super::Network;
use crate::cgroup;
use crate::directory::Directory;
use crate::error::{Doing, Fault, FaultKind};
use crate::files::{read_json, replace_json};
use crate::journal::{Kind, append};
use crate::record::{End, Launch, Phase, Run, boot};

/// Longest wait for killed processes to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn settle(directory: &Directory, launch: &Launch, network: &mut dyn Network) -> Result<(), Fault> {
    let mut run: Run = read_json(&directory.run()).doing("read what became of the instance")?;
    let same_boot = run.boot == boot();
    if same_boot {
        let groups = groups(launch);
        kill_all(&groups)?;
        cgroup::remove(&groups).doing("remove its control groups")?;
    }
    network.detach(launch)?;
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
    for name in ["shim.sock", "console.sock", "run.next"] {
        // Absent is what is wanted.
        let _ = fs::remove_file(directory.at(name));
    }
    let _ = fs::remove_dir_all(directory.at("engine"));
}

/// Its control groups, found by their path.
pub(crate) fn groups(launch: &Launch) -> Vec<PathBuf> {
    cgroup::of_path(launch.spec.pointer("/linux/cgroupsPath").and_then(|path| path.as_str()).unwrap_or_default())
}

fn kill_all(groups: &[PathBuf]) -> Result<(), Fault> {
    let began = Instant::now();
    loop {
        let pids = cgroup::processes(groups).doing("look for what is left of it")?;
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
