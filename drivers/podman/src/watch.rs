//! What happens, as `podman events` tells it.
//!
//! Podman's log of events is replayed from a moment on, so nothing between the call and the child's first read is missed.
//! It is written by many processes and not in order: a resumed watch therefore begins a little early and may repeat.

use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt;
use hythe_runtime::{
    Cursor, Error, ErrorKind, Event, EventKind, EventStream, Exit, Identity, InstanceId, OpContext, Result,
};
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::client::{About, Invocation};
use crate::driver::Podman;
use crate::{error, evidence};

const ABOUT: About<'static> = About { operation: "watch", subject: "podman events" };
/// How much earlier than its cursor a resumed watch begins.
const SLACK: Duration = Duration::from_secs(1);
const KILLED: i32 = 137;

/// One line of `podman events --format json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    #[serde(default, rename = "ID")]
    id: String,
    #[serde(default)]
    name: String,
    status: String,
    time: String,
    #[serde(rename = "Type")]
    kind: String,
    #[serde(default)]
    container_exit_code: Option<i32>,
    #[serde(default, rename = "network")]
    network: String,
    #[serde(default)]
    attributes: Option<BTreeMap<String, String>>,
}

impl Podman {
    pub(crate) fn watch_events(&self, cx: &OpContext, from: &Cursor) -> Result<EventStream> {
        let since = since(from)?;
        let args = [
            "events",
            "--format=json",
            "--stream=true",
            &format!("--since={since}"),
            "--filter=type=container",
            "--filter=type=network",
            "--filter=type=image",
        ];
        let mut command = self.client.command(&Invocation::from(args));
        let mut child = command
            .kill_on_drop(true)
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|cause| self.client.not_started(ABOUT, cause))?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "watch", "`podman events`: no output"))?;
        let follower =
            Follower { child, lines: BufReader::new(stdout).lines(), local: self.local.is_some(), ended: false };
        let events = futures_util::stream::unfold(follower, Follower::next);
        let cancel = cx.cancel.clone();
        Ok(events.take_until(async move { cancel.cancelled().await }).boxed())
    }
}

/// Seconds since 1970 with nine decimals.
fn since(from: &Cursor) -> Result<String> {
    let moment = match &from.0 {
        None => Timestamp::now(),
        Some(place) => {
            let wrong =
                || Error::new(ErrorKind::Invalid, "watch", format!("`{place}` is not a place in podman's events"));
            let nanos: i128 = place.parse().map_err(|_| wrong())?;
            let moment = Timestamp::from_nanosecond(nanos).map_err(|_| wrong())?;
            moment.checked_sub(SLACK).unwrap_or(moment)
        }
    };
    let nanos = moment.as_nanosecond().max(0);
    Ok(format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000))
}

struct Follower {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    local: bool,
    ended: bool,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<Event>, Self)> {
        while !self.ended {
            let read = self.lines.next_line().await;
            match read {
                Ok(Some(line)) => {
                    if let Some(event) = self.event(&line).await {
                        return Some((Ok(event), self));
                    }
                }
                Ok(None) | Err(_) => {
                    self.ended = true;
                    let gone = self.gone().await;
                    return Some((Err(gone), self));
                }
            }
        }
        None
    }

    async fn event(&self, line: &str) -> Option<Event> {
        let line: Line = serde_json::from_str(line)
            .inspect_err(|cause| tracing::warn!(line, %cause, "an event of podman cannot be read"))
            .ok()?;
        let mut event = event(line)?;
        if let EventKind::Stopped { exit } = &mut event.kind
            && self.local
            && exit.code == KILLED
        {
            let (known, id) = (exit.clone(), event.id.0.clone());
            if let Ok(found) = tokio::task::spawn_blocking(move || evidence::with_oom(known, &id)).await {
                *exit = found;
            }
        }
        Some(event)
    }

    async fn gone(&mut self) -> Error {
        let mut stderr = String::new();
        if let Some(pipe) = self.child.stderr.as_mut() {
            let _closed = pipe.read_to_string(&mut stderr).await;
        }
        let how = match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(cause) => cause.to_string(),
        };
        let words = if stderr.trim().is_empty() { how } else { error::words(&stderr) };
        Error::new(ErrorKind::Unavailable, "watch", format!("`podman events` ended: {words}"))
    }
}

fn event(line: Line) -> Option<Event> {
    let time: Timestamp = line.time.parse().ok()?;
    let kind = match line.kind.as_str() {
        "container" => container_kind(&line)?,
        "network" => EventKind::Updated { what: format!("network {} {}", line.status, line.network) },
        "image" => image_kind(&line)?,
        _ => return None,
    };
    let identity = line.attributes.as_ref().and_then(Identity::from_labels);
    Some(Event {
        cursor: Cursor::at(time.as_nanosecond().to_string()),
        time,
        id: InstanceId(line.id),
        name: Some(line.name).filter(|name| !name.is_empty()),
        identity,
        kind,
    })
}

/// Steps on the way (`init`, `cleanup`, `attach`, `exec`, …) are no change of state. `stop` says that somebody asked: `died` follows.
fn container_kind(line: &Line) -> Option<EventKind> {
    Some(match line.status.as_str() {
        "create" => EventKind::Created,
        "start" => EventKind::Started,
        "died" => EventKind::Stopped { exit: Exit::from_code(line.container_exit_code.unwrap_or(0)) },
        "kill" => EventKind::Signalled { signal: signal(line) },
        "pause" => EventKind::Paused,
        "unpause" => EventKind::Unpaused,
        "remove" => EventKind::Removed,
        "oom" => EventKind::OutOfMemory,
        "rename" | "update" => EventKind::Updated { what: line.status.clone() },
        _ => return None,
    })
}

/// Podman logs a `pull` for every image it merely looks up, so that word says nothing.
fn image_kind(line: &Line) -> Option<EventKind> {
    let told = ["tag", "untag", "build", "remove", "loadfromarchive", "import", "pull-error"];
    told.contains(&line.status.as_str()).then(|| EventKind::Image { action: line.status.clone() })
}

fn signal(line: &Line) -> String {
    let named = line.attributes.as_ref().and_then(|attributes| attributes.get("signal"));
    named.map_or_else(|| "kill".to_owned(), Clone::clone)
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
