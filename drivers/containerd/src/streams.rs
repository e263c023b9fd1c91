//! Starting and ending the supervisor of a task's streams.

use std::path::Path;
use std::time::{Duration, Instant};

use hythe_local::{IoContext, shim_client};
use hythe_network::shim_network::Connected;
use hythe_runtime::{Error, ErrorKind, Result};
use hythe_shim::files::{read_json, replace_json};
use hythe_shim::{Directory, Report};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::api_types::{CreateTask, Mount};
use crate::error::from_shim;
use crate::exec::make_pipe;
use crate::record::Record;

/// Longest wait for one that is told to end.
const LONGEST: Duration = Duration::from_secs(5);
/// Time for one whose task is gone to disconnect and to leave.
pub(crate) const LEAVING: Duration = Duration::from_secs(2);
/// The pipe of an open stdin; absent once its end was sent.
pub(crate) const STDIN: &str = "stdin";
/// Directory with the pipes of processes beside the main one.
pub(crate) const EXECS: &str = "exec";
/// The kernel tells of a dropped lock only who waits to take it.
const LOOK: Duration = Duration::from_millis(2);

/// Starts it, and waits until the streams are there, the networks are connected and the specification is complete. Blocking.
pub(crate) fn start(program: Option<&Path>, directory: &Directory, operation: &'static str) -> Result<()> {
    match supervise(program, "task", directory, operation)? {
        Report::Done => Ok(()),
        Report::Failed(fault) => Err(from_shim(operation, &fault)),
        Report::Locked => {
            let message = format!("another supervisor holds `{}`", directory.path().display());
            Err(Error::new(ErrorKind::Conflict, operation, message).temporary(true))
        }
    }
}

/// Starts one in place of one that was killed, while the task runs. Blocking.
pub(crate) fn resume(program: Option<&Path>, directory: &Directory, operation: &'static str) -> Result<()> {
    let connected: Option<Connected> = read_json(&directory.connected()).ok();
    let mut config: Value = read_json(&directory.config()).context(operation, "read what was started")?;
    if let Some(connected) = connected.filter(|_| config["network"].is_object()) {
        // Those that were picked stay the same.
        config["network"]["ports"] = json!(connected.ports);
        replace_json(&directory.config(), &config, false).context(operation, "write what was started")?;
    }
    match supervise(program, "resume", directory, operation)? {
        // Somebody else was faster.
        Report::Done | Report::Locked => Ok(()),
        Report::Failed(fault) => Err(from_shim(operation, &fault)),
    }
}

fn supervise(program: Option<&Path>, verb: &str, directory: &Directory, operation: &'static str) -> Result<Report> {
    // What runs, whatever an upgrade has put at its path meanwhile.
    let program = program.unwrap_or(Path::new("/proc/self/exe"));
    shim_client::shim(program, verb, directory, operation)
}

/// A task with these streams. An open stdin is a named pipe too, which containerd's shim holds open.
pub(crate) fn connected(
    operation: &'static str,
    directory: &Directory,
    record: &Record,
    rootfs: Vec<Mount>,
) -> Result<CreateTask> {
    if record.plan.stdin {
        make_pipe(operation, &directory.at(STDIN))?;
    }
    let pipe = |name: &str, is_there: bool| match is_there {
        true => directory.at(name).to_string_lossy().into_owned(),
        false => String::new(),
    };
    Ok(CreateTask {
        container_id: record.id.clone(),
        rootfs,
        stdin: pipe(STDIN, record.plan.stdin),
        stdout: pipe("stdout", true),
        // What has a terminal has one stream.
        stderr: pipe("stderr", !record.plan.tty),
        terminal: record.plan.tty,
    })
}

/// Ends one whose task is not there (any more), once it had the time to leave by itself; whether it was killed. Blocking.
pub(crate) fn end(directory: &Directory, operation: &'static str, leaving: Duration) -> Result<bool> {
    let began = Instant::now();
    let mut killed = false;
    while let Some(pid) = directory.shim().context(operation, "look for the supervisor")? {
        if began.elapsed() > LONGEST + leaving {
            let message = format!("the supervisor of `{}` does not end", directory.path().display());
            return Err(Error::new(ErrorKind::Timeout, operation, message));
        }
        if let Some(pid) = Pid::from_raw(pid).filter(|_| began.elapsed() >= leaving) {
            killed = true;
            // One that has just ended needs no killing.
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(LOOK);
    }
    for name in [STDIN, "stdout", "stderr"] {
        // Absent is what is wanted.
        let _ = std::fs::remove_file(directory.at(name));
    }
    // Pipes of processes beside the main one, where an agent died before they ended.
    let _ = std::fs::remove_dir_all(directory.at(EXECS));
    Ok(killed)
}

/// Waits until all output of an ended task is in its log. Blocking.
pub(crate) fn drained(directory: &Directory, operation: &'static str) -> Result<()> {
    let began = Instant::now();
    while directory.shim().context(operation, "look for the supervisor")?.is_some() && began.elapsed() < LONGEST {
        std::thread::sleep(LOOK);
    }
    Ok(())
}
