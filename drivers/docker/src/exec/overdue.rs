//! Ending a process whose time is over. The API has no call for that: the process is killed by the pid that the engine tells, where it can be seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hythe_runtime::{Error, ErrorKind, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::time::Instant;

use crate::api_types::ExecState;
use crate::context::Context;

/// A process may be made, but not begun, when its time is over.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: u32 = 100;

/// The time of one process.
pub(super) struct Limit {
    killed: Arc<AtomicBool>,
    timeout: Duration,
}

impl Limit {
    /// Whether it ended by itself.
    pub(super) fn met(&self) -> Result<()> {
        if !self.killed.load(Ordering::Acquire) {
            return Ok(());
        }
        let message = format!("the process was killed after {} ms", self.timeout.as_millis());
        Err(Error::new(ErrorKind::Timeout, "exec", message))
    }
}

/// Watches over a process, whoever still has its session.
pub(super) fn limit(context: Context, path: String, end: Instant, timeout: Duration) -> Limit {
    let killed = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&killed);
    tokio::spawn(async move {
        tokio::time::sleep_until(end).await;
        for _ in 0..LOOKS {
            let state = match context.exec_state(&path).await {
                Ok(state) => state,
                Err(error) => {
                    tracing::debug!(%error, path, "nothing is known of a process whose time is over");
                    return;
                }
            };
            match state.pid.filter(|pid| *pid > 1) {
                Some(pid) if state.running => {
                    told.store(true, Ordering::Release);
                    if let Err(why) = kill(pid, &state) {
                        tracing::warn!(
                            pid,
                            why,
                            "a process in a container exceeded its time limit and cannot be killed"
                        );
                    }
                    return;
                }
                _ if state.exit_code.is_some() && !state.running => return,
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    });
    Limit { killed, timeout }
}

/// Kills a process of the container with its group.
fn kill(pid: i32, state: &ExecState) -> std::result::Result<(), String> {
    let container =
        state.container.as_deref().filter(|id| !id.is_empty()).ok_or("the engine does not report its container")?;
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))
        .map_err(|error| format!("the engine's processes are not to be seen from here: {error}"))?;
    // The engine may run elsewhere, and the number be another's here.
    if !groups.contains(container) {
        return Err("the engine's processes are not to be seen from here".to_owned());
    }
    let Some(process) = Pid::from_raw(pid) else { return Ok(()) };
    // It leads a group of its own; a process that does not is killed alone.
    let group = kill_process_group(process, Signal::KILL);
    match kill_process(process, Signal::KILL).or(group) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
