//! What happens, as podman's stream of events tells it.
//!
//! Podman's log of events is replayed from a moment on, so nothing between the call and its first line is missed.
//! It is written by many processes and not in order: a resumed watch therefore begins a little early and may repeat.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use hythe_runtime::kernel_log::with_oom;
use hythe_runtime::podman::cgroup_scope;
use hythe_runtime::{Cursor, Event, EventKind, EventStream, Exit, Identity, InstanceId, OpContext, Result, after_gap};
use hythe_spec::Signal;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use crate::client::{About, until_deadline};
use crate::connect;
use crate::driver::Podman;
use crate::events_reader::EventsReader;

/// How much earlier than its cursor a resumed watch begins.
const SLACK: Duration = Duration::from_secs(1);
const ABOUT: About<'static> = About { operation: "watch", subject: "podman" };

/// One event.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Line {
    #[serde(rename = "Type")]
    kind: String,
    action: String,
    actor: Actor,
    #[serde(rename = "timeNano", deserialize_with = "moment")]
    pub(crate) time: Timestamp,
    /// Of podman's own check.
    #[serde(default, alias = "health_status")]
    health_status: String,
}

/// What it happened to; for a network, the container that it happened to there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Actor {
    #[serde(default, rename = "ID")]
    id: String,
    /// The labels, and words of podman's own.
    #[serde(default)]
    attributes: Option<BTreeMap<String, String>>,
}

impl Line {
    fn attribute(&self, key: &str) -> Option<&str> {
        self.actor.attributes.as_ref()?.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// Nanoseconds since 1970.
fn moment<'de, D: Deserializer<'de>>(source: D) -> std::result::Result<Timestamp, D::Error> {
    Timestamp::from_nanosecond(i64::deserialize(source)?.into()).map_err(serde::de::Error::custom)
}

impl Podman {
    pub(crate) async fn watch_events(&self, cx: &OpContext, from: &Cursor) -> Result<EventStream> {
        let now = hythe_runtime::Clock::system().now();
        let known = from.0.as_deref().and_then(moment_of);
        // Not a place in Podman's events: what followed it is not known.
        let gap = (known.is_none() && *from != Cursor::START).then(|| Event::gap(cursor(now), now));
        let reader = EventsReader::begin(self.client.clone(), known.map_or(now, with_slack));
        let reader = until_deadline(cx, ABOUT, reader).await??;
        // A stream says nothing while nothing happens: whether podman works is asked beside it.
        connect::answers(self, cx, ABOUT).await?;
        let local = self.local.is_some();
        let mut verdicts = Verdicts::default();
        let lines = reader.lines().filter(move |line| {
            let news = line.as_ref().map_or(true, |line| verdicts.is_news(line));
            std::future::ready(news)
        });
        let events = lines.filter_map(move |line| async move {
            match line {
                Ok(line) => with_oom_kill(event(line)?, local).await.map(Ok),
                Err(gone) => Some(Err(gone)),
            }
        });
        let cancel = cx.cancel.clone();
        Ok(after_gap(gap, events.take_until(async move { cancel.cancelled().await }).boxed()))
    }
}

/// Podman tells a verdict at every single check, and it is the one from before that check: what each instance's was, so that only changes are passed on.
#[derive(Debug, Default)]
struct Verdicts(BTreeMap<String, String>);

impl Verdicts {
    fn is_news(&mut self, line: &Line) -> bool {
        let id = &line.actor.id;
        match line.action.as_str() {
            "health_status" => {
                self.0.insert(id.clone(), line.health_status.clone()).as_ref() != Some(&line.health_status)
            }
            "start" | "remove" => {
                self.0.remove(id);
                true
            }
            _ => true,
        }
    }
}

/// The moment that a cursor names.
fn moment_of(place: &str) -> Option<Timestamp> {
    Timestamp::from_nanosecond(place.parse().ok()?).ok()
}

fn cursor(moment: Timestamp) -> Cursor {
    Cursor::at(moment.as_nanosecond().to_string())
}

/// The moment from which podman's log is read.
fn with_slack(moment: Timestamp) -> Timestamp {
    moment.checked_sub(SLACK).unwrap_or(moment)
}

/// The event with an OOM kill that podman does not report.
async fn with_oom_kill(mut event: Event, local: bool) -> Option<Event> {
    if let EventKind::Stopped { exit } = &mut event.kind
        && local
        && exit.signal == Some(Signal::KILL)
    {
        let (known, id) = (exit.clone(), event.id.0.clone());
        if let Ok(found) = tokio::task::spawn_blocking(move || with_oom(known, &cgroup_scope(&id))).await {
            *exit = found;
        }
    }
    Some(event)
}

fn event(line: Line) -> Option<Event> {
    let time = line.time;
    let kind = match line.kind.as_str() {
        "container" => container_kind(&line)?,
        "network" if ["connect", "disconnect"].contains(&line.action.as_str()) => {
            let network = line.attribute("network").unwrap_or_default();
            EventKind::Updated { what: format!("network {} {network}", line.action).trim_end().to_owned() }
        }
        "image" => image_kind(&line)?,
        _ => return None,
    };
    let identity = line.actor.attributes.as_ref().and_then(Identity::from_labels);
    let name = line.attribute("name").map(str::to_owned);
    Some(Event { cursor: cursor(time), time, id: InstanceId(line.actor.id), name, identity, kind })
}

/// Steps on the way (`init`, `cleanup`, `attach`, `exec`, …) are no change of state. `stop` says that somebody asked: `died` follows.
fn container_kind(line: &Line) -> Option<EventKind> {
    Some(match line.action.as_str() {
        "create" => EventKind::Created,
        "start" => EventKind::Started,
        "died" => EventKind::Stopped { exit: Exit::from_code(exit_code(line)) },
        "kill" => EventKind::Signalled { signal: line.attribute("signal").unwrap_or("kill").to_owned() },
        "pause" => EventKind::Paused,
        "unpause" => EventKind::Unpaused,
        "remove" => EventKind::Removed,
        "oom" => EventKind::OutOfMemory,
        "rename" | "update" => EventKind::Updated { what: line.action.clone() },
        "health_status" => EventKind::Updated { what: format!("health {}", line.health_status).trim_end().to_owned() },
        _ => return None,
    })
}

fn exit_code(line: &Line) -> i32 {
    line.attribute("containerExitCode").and_then(|code| code.parse().ok()).unwrap_or_default()
}

/// Podman logs a `pull` for every image it merely looks up, so that word says nothing.
fn image_kind(line: &Line) -> Option<EventKind> {
    let told = ["tag", "untag", "build", "remove", "loadfromarchive", "import", "pull-error"];
    told.contains(&line.action.as_str()).then(|| EventKind::Image { action: line.action.clone() })
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
