//! Ending a process whose time is over. Podman's command line tells nobody which process it made: it is known by a variable that is given to it alone.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hythe_runtime::{Error, ErrorKind, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::time::Instant;

const VARIABLE: &str = "HYTHE_EXEC_ID";
/// A process may be made, but not begun, when its time is over.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS: u32 = 50;

/// The time of one process.
pub(super) struct Limit {
    mark: String,
    end: Instant,
    timeout: Duration,
}

impl Limit {
    pub(super) fn new(timeout: Duration) -> Result<Self> {
        let id = fs::read_to_string("/proc/sys/kernel/random/uuid").map_err(|cause| {
            Error::new(ErrorKind::Internal, "exec", format!("cannot draw a random id: {cause}")).source(cause)
        })?;
        Ok(Self { mark: format!("{VARIABLE}={}", id.trim()), end: Instant::now() + timeout, timeout })
    }

    /// `NAME=value`, for the process and nobody else.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    /// Watches over the process, whoever still has its session; gives the session's exit.
    pub(super) fn watch(self, exit: BoxFuture<'static, Result<i32>>) -> BoxFuture<'static, Result<i32>> {
        let Self { mark, end, timeout } = self;
        let killed = Arc::new(AtomicBool::new(false));
        let ended = Arc::new(AtomicBool::new(false));
        let (told, over) = (Arc::clone(&killed), Arc::clone(&ended));
        tokio::spawn(async move {
            tokio::time::sleep_until(end).await;
            for _ in 0..LOOKS {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let mark = mark.clone();
                match tokio::task::spawn_blocking(move || kill(&mark)).await {
                    Ok(true) => return told.store(true, Ordering::Release),
                    Ok(false) => tokio::time::sleep(LOOK).await,
                    Err(_) => return,
                }
            }
        });
        async move {
            let outcome = exit.await;
            ended.store(true, Ordering::Release);
            if Instant::now() >= end && (killed.load(Ordering::Acquire) || matches!(outcome, Ok(137))) {
                let message = format!("the process was killed after {} ms", timeout.as_millis());
                return Err(Error::new(ErrorKind::Timeout, "exec", message));
            }
            outcome
        }
        .boxed()
    }
}

/// Kills the marked process with its group; `false`: there is none. What it started in sessions of their own goes on.
fn kill(mark: &str) -> bool {
    let marked: Vec<i32> = processes().filter(|pid| is_marked(*pid, mark)).collect();
    let first = marked.iter().copied().filter(|pid| parent(*pid).is_none_or(|parent| !marked.contains(&parent)));
    // What was started in the background and lost its parent leads no session.
    let leaders: Vec<Pid> =
        first.filter_map(Pid::from_raw).filter(|pid| rustix::process::getsid(Some(*pid)) == Ok(*pid)).collect();
    for pid in &leaders {
        // Either may have ended just now.
        let _ = kill_process_group(*pid, Signal::KILL);
        let _ = kill_process(*pid, Signal::KILL);
    }
    !leaders.is_empty()
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| std::str::from_utf8(entry.file_name().as_bytes()).ok()?.parse().ok())
}

fn is_marked(pid: i32, mark: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

fn parent(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
}
