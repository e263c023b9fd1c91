//! Starting and ending the supervisor of a task's streams.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hythe_local::IoContext;
use hythe_runtime::{Error, ErrorKind, Result};
use hythe_shim::{Directory, Report};
use rustix::process::{Pid, Signal, kill_process};

use crate::api_types::{CreateTask, Mount};
use crate::error::from_shim;
use crate::exec::make_pipe;
use crate::record::Record;

/// What lists of processes show.
const NAME: &str = "hythe";
/// Longest wait for one that is told to end.
const LONGEST: Duration = Duration::from_secs(5);
/// The pipe of an open stdin; absent once its end was sent.
pub(crate) const STDIN: &str = "stdin";
/// Directory with the pipes of processes beside the main one.
pub(crate) const EXECS: &str = "exec";
/// The kernel tells of a dropped lock only who waits to take it.
const LOOK: Duration = Duration::from_millis(2);

/// Starts it, and waits until the streams are there and the specification is complete. Blocking.
pub(crate) fn start(program: Option<&Path>, directory: &Directory, operation: &'static str) -> Result<()> {
    // What runs, whatever an upgrade has put at its path meanwhile.
    let program = program.unwrap_or(Path::new("/proc/self/exe"));
    let what = || format!("start the supervisor `{}`", program.display());
    let log = File::options().create(true).append(true).open(directory.at("shim.log")).context(operation, what())?;
    let mut child = Command::new(program)
        .arg0(NAME)
        .args(["shim", "task"])
        .arg(directory.path())
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context(operation, what())?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).context(operation, what())?;
    }
    // It has gone at once; who speaks is its child.
    child.wait().context(operation, what())?;
    match serde_json::from_str::<Report>(&line) {
        Ok(Report::Done) => Ok(()),
        Ok(Report::Failed(fault)) => Err(from_shim(operation, &fault)),
        Ok(Report::Locked) => {
            let message = format!("another supervisor holds `{}`", directory.path().display());
            Err(Error::new(ErrorKind::Conflict, operation, message).temporary(true))
        }
        Err(_) => {
            let log = std::fs::read_to_string(directory.at("shim.log")).unwrap_or_default();
            let last = log.lines().last().unwrap_or_default().to_owned();
            Err(Error::new(ErrorKind::Unavailable, operation, format!("the supervisor died without a message: {last}")))
        }
    }
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

/// Ends one whose task is not there (any more). Blocking.
pub(crate) fn end(directory: &Directory, operation: &'static str) -> Result<()> {
    let began = Instant::now();
    while let Some(pid) = directory.shim().context(operation, "look for the supervisor")? {
        if began.elapsed() > LONGEST {
            let message = format!("the supervisor of `{}` does not end", directory.path().display());
            return Err(Error::new(ErrorKind::Timeout, operation, message));
        }
        if let Some(pid) = Pid::from_raw(pid) {
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
    Ok(())
}

/// Waits until all output of an ended task is in its log. Blocking.
pub(crate) fn drained(directory: &Directory, operation: &'static str) -> Result<()> {
    let began = Instant::now();
    while directory.shim().context(operation, "look for the supervisor")?.is_some() && began.elapsed() < LONGEST {
        std::thread::sleep(LOOK);
    }
    Ok(())
}
