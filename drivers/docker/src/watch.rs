//! The engine's events.
//!
//! The engine flushes its answer before it subscribes, so that an answer is no proof of a subscription. Every request therefore names a
//! time to begin at, read from the engine's own clock before, and the engine repeats what it remembers since then.
//! Podman's API ends the stream whenever Podman begins a new file of events: it is asked again, and each event told once.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Method};
use hythe_runtime::event_dedup::EventDeduplicator;
use hythe_runtime::{Cursor, Error, Event, EventKind, EventStream, Exit, Identity, InstanceId, Result, after_gap};
use hythe_spec::Signal;
use hythe_spec::vocabulary::ExitCause;
use jiff::Timestamp;

use crate::api_types::{Info, RawEvent};
use crate::client::{ByteStream, filters};
use crate::context::Context;
use crate::error::{broken, translate};
use crate::logs::seconds;
use crate::translate::Engine;

const OPERATION: &str = "watch";
/// Some versions send no header before the first event; the time to begin at makes waiting longer needless.
const FIRST_ANSWER: Duration = Duration::from_millis(500);
const NANOS_PER_SECOND: i64 = 1_000_000_000;

impl Context {
    pub(crate) async fn watch(&self, from: Cursor) -> Result<EventStream> {
        let known = from.0.as_deref().and_then(Place::parse);
        let place = match known {
            Some(place) => place,
            None => Place { nanos: self.engine_time().await?, seen: 0 },
        };
        // Not a place in this engine's events: what followed it is not known.
        let gap = (known.is_none() && from != Cursor::START).then(|| Event::gap(place.cursor(), place.time()));
        let bytes = self.subscribe(place.time()).await?;
        let again = (self.engine == Engine::Podman).then(|| (self.clone(), EventDeduplicator::new(place.time())));
        let state = Reader {
            bytes,
            buffer: BytesMut::new(),
            place,
            repeated: 0,
            out_of_memory: HashSet::new(),
            again,
            ended: false,
        };
        let events =
            stream::unfold(state, |mut reader| async move { reader.next().await.map(|event| (event, reader)) });
        Ok(after_gap(gap, events.boxed()))
    }

    async fn engine_time(&self) -> Result<i64> {
        let info: Info = self.client.get("/info", &[]).await.map_err(|error| translate(OPERATION, "", error))?;
        let time: Timestamp =
            info.system_time.parse().map_err(|_| broken(OPERATION, "it does not say what time it is"))?;
        Ok(i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX))
    }

    async fn subscribe(&self, since: Timestamp) -> Result<ByteStream> {
        let since = seconds(since);
        let kinds = ["container", "image", "network"].map(str::to_owned).to_vec();
        let filters = filters(&[("type", kinds)]);
        let client = self.client.clone();
        let mut asked = tokio::spawn(async move {
            let query = [("since", since.as_str()), ("filters", filters.as_str())];
            client.stream(Method::GET, "/events", &query, &HeaderMap::new(), bollard::body_full(Bytes::new())).await
        });
        match tokio::time::timeout(FIRST_ANSWER, &mut asked).await {
            Ok(Ok(answer)) => answer.map_err(|error| translate(OPERATION, "", error)),
            Ok(Err(error)) => Err(broken(OPERATION, &error.to_string())),
            Err(_) => Ok(later(asked)),
        }
    }
}

/// The bytes of an answer that has not come yet; dropping it withdraws the request.
fn later(asked: tokio::task::JoinHandle<std::result::Result<ByteStream, bollard::errors::Error>>) -> ByteStream {
    let guard = AbortOnDrop(asked);
    stream::once(async move {
        let mut guard = guard;
        match (&mut guard.0).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) => stream::once(async { Err(error) }).boxed(),
            Err(_) => stream::empty().boxed(),
        }
    })
    .flatten()
    .boxed()
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A place in the stream: a moment, and how many events of that very moment have been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    nanos: i64,
    seen: u32,
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let (nanos, seen) = text.split_once('/')?;
        Some(Self { nanos: nanos.parse().ok()?, seen: seen.parse().ok()? })
    }

    fn time(self) -> Timestamp {
        moment(self.nanos)
    }

    fn cursor(self) -> Cursor {
        Cursor::at(format!("{}/{}", self.nanos, self.seen))
    }
}

fn moment(nanos: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH)
}

struct Reader {
    bytes: ByteStream,
    buffer: BytesMut,
    place: Place,
    /// Events of the first place that were met again.
    repeated: u32,
    /// Containers in which the kernel killed something since their start.
    out_of_memory: HashSet<String>,
    /// Whom to ask again, where an end may be none.
    again: Option<(Context, EventDeduplicator)>,
    ended: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<Event>> {
        if self.ended {
            return None;
        }
        loop {
            while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1);
                match serde_json::from_slice::<RawEvent>(&line) {
                    Ok(raw) => {
                        let new = self.again.as_mut().is_none_or(|(_, told)| told.take(moment(nanos(&raw)), &line));
                        if new && let Some(event) = self.event(raw) {
                            return Some(Ok(event));
                        }
                    }
                    Err(_) if line.trim_ascii().is_empty() => {}
                    Err(error) => return self.fail(broken(OPERATION, "an event cannot be read").source(error)),
                }
            }
            match self.bytes.next().await {
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(error)) => return self.fail(translate(OPERATION, "", error)),
                None => match self.subscribe_again().await {
                    Ok(bytes) => (self.bytes, self.buffer) = (bytes, BytesMut::new()),
                    Err(error) => return self.fail(error),
                },
            }
        }
    }

    /// The stream that goes on after one that ended well.
    async fn subscribe_again(&mut self) -> Result<ByteStream> {
        if let Some((context, told)) = &mut self.again
            && told.again().await
        {
            return context.subscribe(told.resume()).await;
        }
        Err(broken(OPERATION, "it ended the stream of events"))
    }

    fn fail(&mut self, error: Error) -> Option<Result<Event>> {
        self.ended = true;
        Some(Err(error))
    }

    /// The seam's event; `None` for what it has no word for, and for what was seen before the place it began at.
    fn event(&mut self, raw: RawEvent) -> Option<Event> {
        let nanos = nanos(&raw);
        if !self.advance(nanos) {
            return None;
        }
        let time = moment(nanos);
        let kind = self.kind(&raw)?;
        let attributes = raw.actor.attributes;
        // Docker tells it of the network and names the container; Podman tells it of the container and names no network.
        let container = attributes.get("container").filter(|_| raw.kind == "network").cloned();
        let name = attributes.get("name").filter(|_| container.is_none()).cloned();
        let id = container.unwrap_or(raw.actor.id);
        let identity = if raw.kind == "container" { Identity::from_labels(&attributes) } else { None };
        Some(Event { cursor: self.place.cursor(), time, id: InstanceId(id), name, identity, kind })
    }

    /// Moves on to an event's moment; false: it was seen before.
    fn advance(&mut self, nanos: i64) -> bool {
        if nanos > self.place.nanos {
            self.place = Place { nanos, seen: 1 };
            self.repeated = u32::MAX;
            return true;
        }
        if nanos == self.place.nanos && self.repeated < self.place.seen {
            self.repeated += 1;
            return false;
        }
        if nanos == self.place.nanos {
            self.place.seen = self.place.seen.saturating_add(1);
            self.repeated = u32::MAX;
        }
        // What comes out of order counts, and leaves the place where it is.
        true
    }

    fn kind(&mut self, raw: &RawEvent) -> Option<EventKind> {
        match raw.kind.as_str() {
            "container" => self.container(raw),
            "image" => Some(EventKind::Image { action: raw.action.clone() }),
            "network" => network(raw),
            _ => None,
        }
    }

    fn container(&mut self, raw: &RawEvent) -> Option<EventKind> {
        let attributes = &raw.actor.attributes;
        let id = &raw.actor.id;
        Some(match raw.action.as_str() {
            "create" => EventKind::Created,
            "start" => {
                self.out_of_memory.remove(id);
                EventKind::Started
            }
            "die" | "died" => {
                let oom = self.out_of_memory.remove(id);
                EventKind::Stopped { exit: exit(attributes, oom) }
            }
            "oom" => {
                self.out_of_memory.insert(id.clone());
                EventKind::OutOfMemory
            }
            "kill" => EventKind::Signalled { signal: attributes.get("signal").cloned().unwrap_or_default() },
            "pause" => EventKind::Paused,
            "unpause" => EventKind::Unpaused,
            "destroy" | "remove" => EventKind::Removed,
            "rename" | "update" => EventKind::Updated { what: raw.action.clone() },
            action => EventKind::Updated { what: health(action, attributes)? },
        })
    }
}

fn nanos(raw: &RawEvent) -> i64 {
    if raw.nanos == 0 { raw.seconds.saturating_mul(NANOS_PER_SECOND) } else { raw.nanos }
}

/// `health_status: healthy`; Podman's API has the verdict among the attributes, or nowhere.
fn health(action: &str, attributes: &BTreeMap<String, String>) -> Option<String> {
    let rest = action.strip_prefix("health_status")?;
    let verdict = rest.strip_prefix(": ").or_else(|| attributes.get("health_status").map(String::as_str));
    Some(format!("health {}", verdict.unwrap_or_default()).trim_end().to_owned())
}

fn network(raw: &RawEvent) -> Option<EventKind> {
    let attributes = &raw.actor.attributes;
    let network = attributes.get("name").filter(|_| attributes.contains_key("container")).map_or("", String::as_str);
    matches!(raw.action.as_str(), "connect" | "disconnect")
        .then(|| EventKind::Updated { what: format!("network {} {network}", raw.action).trim_end().to_owned() })
}

fn exit(attributes: &BTreeMap<String, String>, oom: bool) -> Exit {
    let code = ["exitCode", "containerExitCode"].iter().find_map(|key| attributes.get(*key)?.parse().ok());
    let unknown = || Exit { cause: ExitCause::Unknown, ..Exit::default() };
    let exit = code.map_or_else(unknown, Exit::from_code);
    // A child may have been killed and the main process have ended otherwise.
    let oom = oom && exit.signal == Some(Signal::KILL);
    exit.oom_killed(oom)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn reader(lines: &str, place: Place) -> Reader {
        let bytes = stream::iter([Ok(Bytes::from(lines.to_owned()))]).boxed();
        Reader {
            bytes,
            buffer: BytesMut::new(),
            place,
            repeated: 0,
            out_of_memory: HashSet::new(),
            again: None,
            ended: false,
        }
    }

    fn line(action: &str, nanos: i64, attributes: &str) -> String {
        format!(
            "{{\"Type\":\"container\",\"Action\":\"{action}\",\"Actor\":{{\"ID\":\"c\",\"Attributes\":{{{attributes}}}}},\"time\":1,\"timeNano\":{nanos}}}\n"
        )
    }

    async fn read(mut reader: Reader) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(Ok(event)) = reader.next().await {
            events.push(event);
        }
        events
    }

    #[tokio::test]
    async fn a_cursor_resumes_after_its_event_even_within_one_moment() {
        let lines =
            [line("create", 5, ""), line("start", 7, ""), line("pause", 7, ""), line("unpause", 9, "")].concat();
        let all = read(reader(&lines, Place { nanos: 0, seen: 0 })).await;
        assert_eq!(all.len(), 4);
        for (at, event) in all.iter().enumerate() {
            let place = Place::parse(event.cursor.0.as_deref().unwrap()).unwrap();
            let repeated: String =
                lines.lines().skip(if at == 2 { 1 } else { at }).map(|line| format!("{line}\n")).collect();
            let rest = read(reader(&repeated, place)).await;
            assert_eq!(rest, all[at + 1..], "from {}", event.cursor);
        }
    }

    #[tokio::test]
    async fn a_network_is_joined_in_the_words_of_both_engines() {
        let docker = r#"{"Type":"network","Action":"connect","Actor":{"ID":"n","Attributes":{"container":"c","name":"net","type":"bridge"}},"timeNano":1}"#;
        let podman = r#"{"Type":"network","Action":"disconnect","Actor":{"ID":"c","Attributes":{"image":"","name":"web","podId":""}},"timeNano":2}"#;
        let events = read(reader(&format!("{docker}\n{podman}\n"), Place { nanos: 0, seen: 0 })).await;
        let told: Vec<_> =
            events.iter().map(|event| (event.id.0.as_str(), event.name.as_deref(), &event.kind)).collect();
        let updated = |what: &str| EventKind::Updated { what: what.to_owned() };
        let expected =
            [("c", None, &updated("network connect net")), ("c", Some("web"), &updated("network disconnect"))];
        assert_eq!(told, expected);
    }

    #[tokio::test]
    async fn a_kill_is_no_end_and_an_end_knows_about_memory() {
        let lines = [
            line("kill", 1, "\"signal\":\"1\""),
            line("oom", 2, ""),
            line("die", 3, "\"exitCode\":\"137\""),
            line("exec_start: sh", 4, ""),
            line("health_status: unhealthy", 5, ""),
            line("destroy", 6, ""),
        ];
        let kinds: Vec<EventKind> = read(reader(&lines.concat(), Place { nanos: 0, seen: 0 }))
            .await
            .into_iter()
            .map(|event| event.kind)
            .collect();
        let exit = Exit::from_code(137).oom_killed(true);
        let expected = [
            EventKind::Signalled { signal: "1".to_owned() },
            EventKind::OutOfMemory,
            EventKind::Stopped { exit },
            EventKind::Updated { what: "health unhealthy".to_owned() },
            EventKind::Removed,
        ];
        assert_eq!(kinds, expected);
    }
}
