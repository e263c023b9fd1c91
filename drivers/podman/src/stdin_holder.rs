//! Keeps the stdin of an attached main process open.
//!
//! Conmon closes it when the last connection to it ends, and the process would see the end of file because a user went away.
//! So one more `podman attach` stays connected: it is told nothing, shows nothing, outlives the agent, and ends with the process.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::Signal;

use crate::client::{Client, Invocation};
use crate::pidfd;

/// The holders, by instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct StdinHolders(Arc<Mutex<HashMap<String, Option<OwnedFd>>>>);

impl StdinHolders {
    /// Sees to it that the instance has one.
    pub(crate) fn hold(&self, client: &Client, id: &str) -> io::Result<()> {
        let mut holders = self.all();
        if holders.contains_key(id) {
            return Ok(());
        }
        let mut child = spawn(client, id)?;
        holders.insert(id.to_owned(), child.id().and_then(pidfd::open));
        drop(holders);
        let (holders, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            if let Err(cause) = child.wait().await {
                tracing::warn!(id, %cause, "a stdin holder cannot be waited for");
            }
            holders.all().remove(&id);
        });
        Ok(())
    }

    /// Lets go of the instance's stdin, so that an end of file passes.
    pub(crate) fn release(&self, id: &str) {
        if let Some(Some(holder)) = self.all().get(id) {
            pidfd::signal(holder, Signal::KILL);
        }
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<String, Option<OwnedFd>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn spawn(client: &Client, id: &str) -> io::Result<tokio::process::Child> {
    let call = Invocation::from(["attach", "--sig-proxy=false", "--detach-keys=", id]);
    let mut command = client.command(&call);
    command.stdin(endless()?).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

/// A stdin that never has anything and never ends: a pipe whose reader holds its writing end too.
fn endless() -> io::Result<Stdio> {
    let (reader, _writer) = io::pipe()?;
    let both = format!("/proc/self/fd/{}", reader.as_raw_fd());
    Ok(File::options().read(true).write(true).open(both)?.into())
}
