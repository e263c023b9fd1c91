//! `podman events`, kept going: each line once, over the ends that are none.
//!
//! When podman's file of events grows too large, podman replaces it, and `podman events` ends well and without a word.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::{Stream, stream};
use hythe_runtime::{Error, ErrorKind, Result};
use jiff::Timestamp;
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::client::{About, Client, Invocation};
use crate::error;
use crate::watch::Line;

const ABOUT: About<'static> = About { operation: "watch", subject: "podman events" };
/// How far a call goes back behind the newest line seen: podman's processes write late and not in order.
const OVERLAP: Duration = Duration::from_secs(5);
/// A call that ends sooner and tells nothing new did not end because of a new file.
const AT_ONCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);
/// Calls that end at once in a row, until podman is taken for broken.
const PATIENCE: u32 = 5;

/// Reads what podman tells, call after call.
pub(crate) struct Follower {
    client: Client,
    call: Call,
    told: Told,
    fruitless: u32,
}

/// One `podman events`.
struct Call {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    began: Instant,
    fruitful: bool,
}

/// Lines passed on, as far as the next call may repeat them.
struct Told {
    /// Nothing before that moment is wanted.
    beginning: Timestamp,
    newest: Timestamp,
    lines: BTreeSet<(Timestamp, String)>,
}

impl Follower {
    /// Begins with what happened since that moment.
    pub(crate) fn begin(client: Client, beginning: Timestamp) -> Result<Self> {
        let call = Call::begin(&client, beginning)?;
        let told = Told { beginning, newest: beginning, lines: BTreeSet::new() };
        Ok(Self { client, call, told, fruitless: 0 })
    }

    /// Every line once, then the error with which podman went.
    pub(crate) fn lines(self) -> impl Stream<Item = Result<Line>> + Send {
        stream::unfold(Some(self), |follower| async move {
            let mut follower = follower?;
            match follower.next().await {
                Ok(line) => Some((Ok(line), Some(follower))),
                Err(gone) => Some((Err(gone), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Line> {
        loop {
            match self.call.lines.next_line().await {
                Ok(Some(text)) => {
                    if let Some(line) = self.fresh(text) {
                        self.call.fruitful = true;
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
        self.told.take(line.time, text).then_some(line)
    }

    /// Calls again, unless podman is gone.
    async fn go_on(&mut self) -> Result<()> {
        let lost = self.call.end().await?;
        let fruitful = self.call.fruitful || self.call.began.elapsed() > AT_ONCE;
        self.fruitless = if fruitful { 0 } else { self.fruitless + 1 };
        if self.fruitless >= PATIENCE {
            return Err(lost);
        }
        tokio::time::sleep(PAUSE * self.fruitless).await;
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
        Ok(Self { child, lines: BufReader::new(stdout).lines(), began: Instant::now(), fruitful: false })
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

/// An agent that is killed can drop nothing: without this its follower would stay until the next event.
#[expect(unsafe_code, reason = "the standard library has no safe way to prepare a child between fork and exec")]
fn end_with_this_process(command: &mut Command) {
    let bind = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
    // SAFETY: the closure makes one system call (prctl), which is async-signal-safe, and allocates nothing.
    unsafe { command.pre_exec(bind) };
}

impl Told {
    /// Notes a line; whether it is new.
    fn take(&mut self, time: Timestamp, text: String) -> bool {
        let new = self.lines.insert((time, text));
        self.newest = self.newest.max(time);
        let edge = self.resume();
        while self.lines.first().is_some_and(|(time, _)| *time < edge) {
            self.lines.pop_first();
        }
        new
    }

    /// From when on the next call has to read.
    fn resume(&self) -> Timestamp {
        self.newest.checked_sub(OVERLAP).unwrap_or(self.beginning).max(self.beginning)
    }
}

/// Seconds since 1970 with nine decimals.
fn seconds(moment: Timestamp) -> String {
    let nanos = moment.as_nanosecond().max(0);
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

#[cfg(test)]
#[path = "follower_tests.rs"]
mod tests;
