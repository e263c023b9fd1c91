//! Logs that the engine kept.
//!
//! `tail` counts lines here, not in the engine, which counts pieces of lines: the log is read once to find the first line wanted, and
//! for a follow a second time from exactly there.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, Method};
use hythe_runtime::{InstanceId, LogLine, LogOptions, LogStream, Logs, OpContext, Result, StdStream};
use jiff::Timestamp;

use crate::client::segment;
use crate::core::Core;
use crate::error::{bounded, translate};
use crate::frames::frames;
use crate::lines::{Format, Lines};
use crate::native::Container;
use crate::translate::Engine;

const OPERATION: &str = "logs";
/// How long after its end a follow waits for lines that were written before it.
const LAG: Duration = Duration::from_millis(250);

#[async_trait]
impl Logs for Core {
    async fn logs(&self, cx: &OpContext, id: &InstanceId, options: &LogOptions) -> Result<LogStream> {
        let opened = bounded(cx, OPERATION, self.open_logs(id, options)).await?;
        let cancel = cx.cancel.clone();
        Ok(opened.take_until(async move { cancel.cancelled().await }).boxed())
    }
}

/// What one reading of a log asks for.
#[derive(Debug, Clone, Copy, Default)]
struct Reading {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    follow: bool,
    /// Lines at the beginning that are not wanted.
    skip: u64,
}

impl Core {
    async fn open_logs(&self, id: &InstanceId, options: &LogOptions) -> Result<LogStream> {
        let LogOptions { tail, since, until, follow } = *options;
        let container = self.container(OPERATION, &id.0).await?;
        let never_started = container.state.status == "created" && !follow;
        if never_started || (tail == Some(0) && !follow) {
            return Ok(stream::empty().boxed());
        }
        let whole = Reading { since, until, follow: false, skip: 0 };
        let Some(tail) = tail else { return self.read(&container, Reading { follow, ..whole }).await };
        let history = self.read(&container, whole).await?;
        let Tail { kept, passed, last_time, repeats } = last(history, tail).await?;
        if !follow {
            return Ok(stream::iter(kept.into_iter().map(Ok)).boxed());
        }
        // A count from the beginning would be wrong after a rotation, which only dockerd does; its times are exact.
        let from = match (self.engine, last_time) {
            (Engine::Docker, Some(time)) => Reading { since: Some(time), skip: repeats, ..whole },
            _ => Reading { skip: passed, ..whole },
        };
        self.read(&container, Reading { follow, ..from }).await
    }

    async fn read(&self, container: &Container, reading: Reading) -> Result<LogStream> {
        let format = self.format(container.config.tty);
        let path = format!("/containers/{}/logs", segment(&container.id));
        let flag = |on: bool| if on { "1" } else { "0" };
        let mut query = vec![("stdout", "1"), ("stderr", "1"), ("follow", flag(reading.follow)), ("timestamps", flag(format != Format::RawBare))];
        let since = reading.since.map(seconds);
        query.extend(since.as_deref().map(|since| ("since", since)));
        // dockerd 20.10 waits for a line after the end of a follow, so that end is kept here.
        let until = reading.until.filter(|_| !reading.follow).map(seconds);
        query.extend(until.as_deref().map(|until| ("until", until)));
        let bytes = self
            .client
            .stream(Method::GET, &path, &query, &HeaderMap::new(), bollard::body_full(bytes::Bytes::new()))
            .await
            .map_err(|error| translate(OPERATION, &container.id, error))?;
        let frames = frames(OPERATION, bytes, !matches!(format, Format::Framed { .. }));
        let skip = usize::try_from(reading.skip).unwrap_or(usize::MAX);
        let lines = lines(frames.boxed(), Lines::new(format)).skip(skip);
        let engine_filters = self.engine == Engine::Podman;
        let wanted = lines.filter(move |line| {
            let wanted = engine_filters || line.as_ref().map_or(true, |line| within(line, reading));
            std::future::ready(wanted)
        });
        Ok(match reading.until.filter(|_| reading.follow) {
            Some(until) => wanted.take_until(tokio::time::sleep(time_left(until))).boxed(),
            None => wanted.boxed(),
        })
    }

    fn format(&self, tty: bool) -> Format {
        match (tty, self.engine) {
            (false, engine) => Format::Framed { one_time: engine == Engine::Docker },
            (true, Engine::Docker) => Format::RawTimed,
            (true, Engine::Podman) => Format::RawBare,
        }
    }
}

/// Podman's times are whole seconds, so it filters itself; dockerd's are exact.
fn within(line: &LogLine, reading: Reading) -> bool {
    let Some(time) = line.time else { return true };
    reading.since.is_none_or(|since| time >= since) && reading.until.is_none_or(|until| time < until)
}

fn time_left(until: Timestamp) -> Duration {
    let left = until.duration_since(Timestamp::now());
    Duration::try_from(left).map_or(Duration::ZERO, |left| left + LAG)
}

/// `1795343055.463595417`
pub(crate) fn seconds(time: Timestamp) -> String {
    format!("{}.{:09}", time.as_second(), time.subsec_nanosecond().max(0))
}

fn lines<S>(frames: S, lines: Lines) -> impl Stream<Item = Result<LogLine>> + Send
where
    S: Stream<Item = Result<(StdStream, bytes::Bytes)>> + Send + Unpin,
{
    stream::unfold((frames, lines, false), |(mut frames, mut lines, mut ended)| async move {
        loop {
            if let Some(line) = lines.next() {
                return Some((Ok(line), (frames, lines, ended)));
            }
            if ended {
                return None;
            }
            match frames.next().await {
                Some(Ok((stream, bytes))) => lines.push(stream, &bytes),
                Some(Err(error)) => return Some((Err(error), (frames, lines, true))),
                None => {
                    lines.finish();
                    ended = true;
                }
            }
        }
    })
}

/// The end of a log.
#[derive(Debug, Default)]
struct Tail {
    kept: VecDeque<LogLine>,
    /// Lines before those.
    passed: u64,
    /// Time of the last line before those.
    last_time: Option<Timestamp>,
    /// Lines before those that have that time.
    repeats: u64,
}

async fn last(mut log: LogStream, tail: u64) -> Result<Tail> {
    let mut end = Tail::default();
    while let Some(line) = log.next().await {
        end.kept.push_back(line?);
        if end.kept.len() as u64 <= tail {
            continue;
        }
        if let Some(line) = end.kept.pop_front() {
            end.repeats = if line.time == end.last_time { end.repeats + 1 } else { 1 };
            end.last_time = line.time;
            end.passed += 1;
        }
    }
    Ok(end)
}
