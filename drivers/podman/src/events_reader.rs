//! `podman events`, kept going: each line once, over the ends that are none.
//!
//! When podman's file of events grows too large, podman replaces it, and `podman events` ends well and without a word.

use std::process::Stdio;

use futures_util::{Stream, stream};
use hythe_runtime::event_dedup::EventDeduplicator;
use hythe_runtime::{Error, ErrorKind, Result};
use jiff::Timestamp;
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::client::{About, Client, Invocation};
use crate::error;
use crate::watch::Line;

const ABOUT: About<'static> = About { operation: "watch", subject: "podman events" };

/// Reads what podman tells, call after call.
pub(crate) struct EventsReader {
    client: Client,
    call: Call,
    told: EventDeduplicator,
}

/// One `podman events`.
struct Call {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl EventsReader {
    /// Begins with what happened since that moment.
    pub(crate) fn begin(client: Client, beginning: Timestamp) -> Result<Self> {
        let call = Call::begin(&client, beginning)?;
        Ok(Self { client, call, told: EventDeduplicator::new(beginning) })
    }

    /// Every line once, then the error with which podman went.
    pub(crate) fn lines(self) -> impl Stream<Item = Result<Line>> + Send {
        stream::unfold(Some(self), |reader| async move {
            let mut reader = reader?;
            match reader.next().await {
                Ok(line) => Some((Ok(line), Some(reader))),
                Err(gone) => Some((Err(gone), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Line> {
        loop {
            match self.call.lines.next_line().await {
                Ok(Some(text)) => {
                    if let Some(line) = self.fresh(text) {
                        return Ok(line);
                    }
                }
                Ok(None) | Err(_) => self.go_on().await?,
            }
        }
    }

    fn fresh(&mut self, text: String) -> Option<Line> {
        let line: Line = serde_json::from_str(&text)
            .inspect_err(|cause| tracing::warn!(line = text, %cause, "an event of podman cannot be read"))
            .ok()?;
        self.told.take(line.time, text.as_bytes()).then_some(line)
    }

    /// Calls again, unless podman is gone.
    async fn go_on(&mut self) -> Result<()> {
        let lost = self.call.end().await?;
        if !self.told.again().await {
            return Err(lost);
        }
        self.call = Call::begin(&self.client, self.told.resume())?;
        Ok(())
    }
}

impl Call {
    fn begin(client: &Client, since: Timestamp) -> Result<Self> {
        let since = seconds(since);
        let args = [
            "events",
            "--format=json",
            "--stream=true",
            &format!("--since={since}"),
            "--filter=type=container",
            "--filter=type=network",
            "--filter=type=image",
        ];
        let mut command = client.command(&Invocation::from(args));
        end_with_this_process(&mut command);
        let mut child = command
            .kill_on_drop(true)
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|cause| client.not_started(ABOUT, cause))?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "watch", "`podman events`: no output"))?;
        Ok(Self { child, lines: BufReader::new(stdout).lines() })
    }

    /// How it ended: an error where podman broke; where it ended well, the error that this will be if it goes on like that.
    async fn end(&mut self) -> Result<Error> {
        let mut stderr = String::new();
        if let Some(pipe) = self.child.stderr.as_mut() {
            let _closed = pipe.read_to_string(&mut stderr).await;
        }
        let ended = self.child.wait().await;
        let well = stderr.trim().is_empty() && ended.as_ref().is_ok_and(std::process::ExitStatus::success);
        let how = ended.map_or_else(|cause| cause.to_string(), |status| status.to_string());
        let words = if stderr.trim().is_empty() { how } else { error::words(&stderr) };
        let gone = Error::new(ErrorKind::Unavailable, "watch", format!("`podman events` ended: {words}"));
        if well { Ok(gone) } else { Err(gone) }
    }
}

/// An agent that is killed can drop nothing: without this its reader would stay until the next event.
#[expect(unsafe_code, reason = "the standard library has no safe way to prepare a child between fork and exec")]
fn end_with_this_process(command: &mut Command) {
    let bind = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
    // SAFETY: the closure makes one system call (prctl), which is async-signal-safe, and allocates nothing.
    unsafe { command.pre_exec(bind) };
}

/// Seconds since 1970 with nine decimals.
fn seconds(moment: Timestamp) -> String {
    let nanos = moment.as_nanosecond().max(0);
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

#[cfg(test)]
#[path = "events_reader_tests.rs"]
mod tests;
