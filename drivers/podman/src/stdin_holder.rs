//! Writes to the stdin of a main process, and keeps it open.
//!
//! Conmon closes it when any connection to it ends, and the process would see the end of file because a user went away. So there is one `podman attach` for
//! each run of an instance, to which all sessions write. It shows nothing, outlives them and the agent, and ends with the process.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Socket;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UnixStream;

use crate::program::{Invocation, Program};

/// Gives the program after it the writing end of its own stdin as descriptor 3: it does not end with the agent.
const WITH_BOTH_ENDS: &str = r#"exec 3>&1 >/dev/null; exec "$@""#;

type Run = (String, String);

/// The writing ends, by instance and start of its run.
#[derive(Debug, Clone, Default)]
pub(crate) struct StdinHolders(Arc<Mutex<HashMap<Run, Socket>>>);

impl StdinHolders {
    /// Another writing end. Dropping it ends nothing; shutting it down is the end of file, after what was written.
    pub(crate) fn writer(&self, program: &Program, id: &str, run: &str) -> io::Result<UnixStream> {
        let run = (id.to_owned(), run.to_owned());
        let mut holders = self.all();
        let ours = match holders.get(&run) {
            Some(ours) => ours.try_clone()?,
            None => {
                let (ours, theirs) = Socket::pair()?;
                let mut child = spawn(program, id, &ours, theirs)?;
                holders.insert(run.clone(), ours.try_clone()?);
                let holders = self.clone();
                tokio::spawn(async move {
                    if let Err(cause) = child.wait().await {
                        tracing::warn!(id = run.0, %cause, "a stdin holder cannot be waited for");
                    }
                    holders.all().remove(&run);
                });
                ours
            }
        };
        ours.set_nonblocking(true)?;
        UnixStream::from_std(ours)
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<Run, Socket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn spawn(program: &Program, id: &str, ours: &Socket, theirs: Socket) -> io::Result<tokio::process::Child> {
    let call = Invocation::from(["attach", "--sig-proxy=false", "--detach-keys=", id]);
    let mut command = program.command_in_shell(WITH_BOTH_ENDS, &call);
    let (ours, theirs) = (OwnedFd::from(ours.try_clone()?), OwnedFd::from(theirs));
    command.stdin(theirs).stdout(ours).stderr(Stdio::null()).spawn()
}
