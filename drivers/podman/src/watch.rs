//! What happens, as `podman events` tells it.
//!
//! Podman's log of events is replayed from a moment on, so nothing between the call and the child's first read is missed.
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

use crate::client::About;
use crate::connect;
use crate::driver::Podman;
use crate::events_reader::EventsReader;

/// How much earlier than its cursor a resumed watch begins.
const SLACK: Duration = Duration::from_secs(1);

/// One line of `podman events --format json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Line {
    #[serde(default, rename = "ID")]
    id: String,
    #[serde(default)]
    name: String,
    status: String,
    /// Podman 4 writes `Time`, Podman 5 `timeNano` beside a `time` in whole seconds.
    #[serde(alias = "timeNano", deserialize_with = "moment")]
    pub(crate) time: Timestamp,
    #[serde(rename = "Type")]
    kind: String,
    #[serde(default)]
    container_exit_code: Option<i32>,
    #[serde(default, rename = "network")]
    network: String,
    #[serde(default, rename = "health_status")]
    health: String,
    #[serde(default)]
    attributes: Option<BTreeMap<String, String>>,
}

/// An RFC 3339 text, or nanoseconds since 1970.
fn moment<'de, D: Deserializer<'de>>(source: D) -> std::result::Result<Timestamp, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Moment {
        Text(Timestamp),
        Nanos(i64),
    }
    match Moment::deserialize(source)? {
        Moment::Text(time) => Ok(time),
        Moment::Nanos(nanos) => Timestamp::from_nanosecond(nanos.into()).map_err(serde::de::Error::custom),
    }
}

impl Podman {
    pub(crate) async fn watch_events(&self, cx: &OpContext, from: &Cursor) -> Result<EventStream> {
        let now = hythe_runtime::Clock::system().now();
        let known = from.0.as_deref().and_then(moment_of);
        // Not a place in Podman's events: what followed it is not known.
        let gap = (known.is_none() && *from != Cursor::START).then(|| Event::gap(cursor(now), now));
        let reader = EventsReader::begin(self.client.clone(), known.map_or(now, with_slack))?;
        // `podman events` says nothing while nothing happens: whether podman works is asked beside it.
        connect::answers(self, cx, About { operation: "watch", subject: "podman" }).await?;
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
        match line.status.as_str() {
            "health_status" => self.0.insert(line.id.clone(), line.health.clone()).as_ref() != Some(&line.health),
            "start" | "remove" => {
                self.0.remove(&line.id);
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
        "network" if ["connect", "disconnect"].contains(&line.status.as_str()) => {
            EventKind::Updated { what: format!("network {} {}", line.status, line.network) }
        }
        "image" => image_kind(&line)?,
        _ => return None,
    };
    let identity = line.attributes.as_ref().and_then(Identity::from_labels);
    Some(Event {
        cursor: cursor(time),
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
        "health_status" => EventKind::Updated { what: format!("health {}", line.health) },
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
