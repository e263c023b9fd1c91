//! Logs that the engine kept.
//!
//! `tail` counts lines here, not in the engine, which counts pieces of lines: the log is read once to find the first line wanted, and
//! for a follow a second time from exactly there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http::{HeaderMap, Method};
use hythe_runtime::log_lines::in_time;
use hythe_runtime::{
    InstanceRef, LogLine, LogOptions, LogStream, LogTail, Logs, OpContext, OutputStream, Result, StdStream,
};
use jiff::Timestamp;

use crate::api_types::Container;
use crate::client::segment;
use crate::context::Context;
use crate::driver::Docker;
use crate::error::translate;
use crate::partial_lines::{Format, PartialLines};
use crate::stdcopy::frames;
use crate::translate::Engine;

mod poll;

const OPERATION: &str = "logs";
/// Pieces asked of dockerd's tail beyond two for each line.
const PIECES_MORE: u64 = 64;
/// Pieces that are read into memory at once; for a longer tail the log is read from its beginning.
const MOST_PIECES: u64 = 1024;
/// How long after its end a follow waits for lines that were written before it.
const LAG: Duration = Duration::from_millis(250);

#[async_trait]
impl Logs for Docker {
    async fn logs(&self, cx: &OpContext, instance: &InstanceRef, options: &LogOptions) -> Result<LogStream> {
        let opened = cx.with_deadline(OPERATION, self.context.open_logs(instance, options)).await?;
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

impl Context {
    async fn open_logs(&self, instance: &InstanceRef, options: &LogOptions) -> Result<LogStream> {
        let LogOptions { tail, since, until, follow } = *options;
        let container = self.container(OPERATION, instance).await?;
        let never_started = container.state.status == "created" && !follow;
        if never_started || (tail == Some(0) && !follow) {
            return Ok(stream::empty().boxed());
        }
        let whole = Reading { since, until, follow: false, skip: 0 };
        let Some(tail) = tail else { return self.read(&container, Reading { follow, ..whole }).await };
        let (kept, before) = self.tail(&container, whole, tail).await?;
        if !follow {
            return Ok(stream::iter(kept.into_iter().map(Ok)).boxed());
        }
        self.read(&container, Reading { follow, ..before.rest(self.engine, whole) }).await
    }

    /// The last so many lines, and what is known of those before them.
    async fn tail(&self, container: &Container, whole: Reading, tail: u64) -> Result<(VecDeque<LogLine>, Seen)> {
        let simple = whole.since.is_none()
            && whole.until.is_none()
            && tail <= MOST_PIECES / 4
            && self.format(container.config.tty) == Format::Framed { one_time: true };
        if simple && let Some(recent) = self.recent(container, whole, tail).await? {
            return Ok(recent);
        }
        last(self.read(container, whole).await?, tail).await
    }

    /// The same from dockerd's own tail, which counts pieces: `None` where too few lines come whole, so that all must be read.
    async fn recent(
        &self,
        container: &Container,
        whole: Reading,
        tail: u64,
    ) -> Result<Option<(VecDeque<LogLine>, Seen)>> {
        let pieces = tail.saturating_mul(2).saturating_add(PIECES_MORE);
        let (frames, format) = self.frames(container, whole, Some(pieces)).await?;
        let frames: Vec<_> = frames.try_collect().await?;
        let all_there = (frames.len() as u64) < pieces;
        let frames = stream::iter(frames.into_iter().map(Ok));
        let mut lines: Vec<LogLine> = joined(frames, PartialLines::new(format), true).try_collect().await?;
        if !all_there {
            // It may have lost its beginning.
            lines.drain(..lines.len().min(1));
        }
        let first_time = lines.first().and_then(|line| line.time);
        let (kept, before) = last(stream::iter(lines.into_iter().map(Ok)).boxed(), tail).await?;
        let known = all_there || (before.lines > 0 && before.last_time != first_time);
        Ok(known.then_some((kept, before)))
    }

    async fn read(&self, container: &Container, reading: Reading) -> Result<LogStream> {
        let lines = match (reading.follow, self.engine) {
            (false, _) => self.lines(container, reading, true).await?,
            (true, Engine::Docker) => self.followed(container, reading).await?,
            (true, Engine::Podman) => poll::polled(self.clone(), InstanceRef::id(&container.id), reading),
        };
        let wanted = self.wanted(lines, reading);
        Ok(match reading.until.filter(|_| reading.follow) {
            Some(until) => wanted.take_until(tokio::time::sleep(time_left(until))).boxed(),
            None => wanted,
        })
    }

    /// dockerd's follow, completed by a reading of what it may have missed: 20.10 drops the last line of a process that ends right after it.
    async fn followed(&self, container: &Container, reading: Reading) -> Result<LogStream> {
        let followed = self.lines(container, reading, false).await?;
        let before = Seen { lines: 0, last_time: reading.since, repeats: reading.skip };
        let seen = Arc::new(Mutex::new(before));
        let counted = followed.inspect_ok({
            let seen = Arc::clone(&seen);
            move |line| seen.lock().unwrap_or_else(PoisonError::into_inner).count(line)
        });
        let (context, container) = (self.clone(), container.clone());
        let rest = stream::once(async move {
            let rest = seen.lock().unwrap_or_else(PoisonError::into_inner).rest(context.engine, reading);
            match context.lines(&container, rest, true).await {
                Ok(lines) => lines,
                // Removed as soon as it ended.
                Err(error) if error.is_not_found() => stream::empty().boxed(),
                Err(error) => stream::once(async { Err(error) }).boxed(),
            }
        });
        Ok(until_error(counted.chain(rest.flatten()).boxed()))
    }

    fn wanted(&self, lines: LogStream, reading: Reading) -> LogStream {
        // Podman's times are whole seconds, so it filters itself; dockerd's are exact.
        let trusted = self.engine == Engine::Podman;
        lines
            .filter(move |line| {
                std::future::ready(
                    trusted || line.as_ref().map_or(true, |line| in_time(line, reading.since, reading.until)),
                )
            })
            .boxed()
    }

    /// Lines as the engine has them; `whole`: the last one too, if nothing ended it.
    async fn lines(&self, container: &Container, reading: Reading, whole: bool) -> Result<LogStream> {
        let (frames, format) = self.frames(container, reading, None).await?;
        let skip = usize::try_from(reading.skip).unwrap_or(usize::MAX);
        Ok(joined(frames, PartialLines::new(format), whole).skip(skip).boxed())
    }

    async fn frames(
        &self,
        container: &Container,
        reading: Reading,
        tail: Option<u64>,
    ) -> Result<(OutputStream, Format)> {
        let format = self.format(container.config.tty);
        let path = format!("/containers/{}/logs", segment(&container.id));
        let flag = |on: bool| if on { "1" } else { "0" };
        let mut query = vec![
            ("stdout", "1"),
            ("stderr", "1"),
            ("follow", flag(reading.follow)),
            ("timestamps", flag(format != Format::RawBare)),
        ];
        let since = reading.since.map(seconds);
        query.extend(since.as_deref().map(|since| ("since", since)));
        // dockerd 20.10 waits for a line after the end of a follow, so that end is kept here.
        let until = reading.until.filter(|_| !reading.follow).map(seconds);
        query.extend(until.as_deref().map(|until| ("until", until)));
        let tail = tail.map(|pieces| pieces.to_string());
        query.extend(tail.as_deref().map(|tail| ("tail", tail)));
        let bytes = self
            .client
            .stream(Method::GET, &path, &query, &HeaderMap::new(), bollard::body_full(Bytes::new()))
            .await
            .map_err(|error| translate(OPERATION, &container.id, error))?;
        Ok((frames(OPERATION, bytes, !matches!(format, Format::Framed { .. })).boxed(), format))
    }

    fn format(&self, tty: bool) -> Format {
        match (tty, self.engine) {
            (false, engine) => Format::Framed { one_time: engine == Engine::Docker },
            (true, Engine::Docker) => Format::RawTimed,
            (true, Engine::Podman) => Format::RawBare,
        }
    }
}

/// What a follow has given.
#[derive(Debug, Default)]
struct Seen {
    lines: u64,
    last_time: Option<Timestamp>,
    /// Lines that have that time.
    repeats: u64,
}

impl Seen {
    fn count(&mut self, line: &LogLine) {
        self.lines += 1;
        self.repeats = if line.time == self.last_time { self.repeats + 1 } else { 1 };
        self.last_time = line.time;
    }

    /// Reads what comes after it. A count from the beginning would be wrong after a rotation, which only dockerd does; its times are exact.
    fn rest(&self, engine: Engine, reading: Reading) -> Reading {
        let after = Reading { follow: false, ..reading };
        match (engine, self.last_time) {
            (Engine::Docker, Some(time)) => Reading { since: Some(time), skip: self.repeats, ..after },
            (Engine::Docker, None) => after,
            (Engine::Podman, _) => Reading { skip: after.skip + self.lines, ..after },
        }
    }
}

fn time_left(until: Timestamp) -> Duration {
    let left = until.duration_since(hythe_runtime::Clock::system().now());
    Duration::try_from(left).map_or(Duration::ZERO, |left| left + LAG)
}

/// `1795343055.463595417`
pub(crate) fn seconds(time: Timestamp) -> String {
    format!("{}.{:09}", time.as_second(), time.subsec_nanosecond().max(0))
}

/// The stream up to and with its first error.
fn until_error(lines: LogStream) -> LogStream {
    let mut broken = false;
    lines.take_while(move |line| std::future::ready(!std::mem::replace(&mut broken, line.is_err()))).boxed()
}

fn joined<S>(frames: S, lines: PartialLines, whole: bool) -> impl Stream<Item = Result<LogLine>> + Send
where
    S: Stream<Item = Result<(StdStream, Bytes)>> + Send + Unpin,
{
    stream::unfold((frames, lines, false), move |(mut frames, mut lines, mut ended)| async move {
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
                    if whole {
                        lines.finish();
                    }
                    ended = true;
                }
            }
        }
    })
}

/// The last so many lines, and what came before them.
async fn last(mut log: LogStream, tail: u64) -> Result<(VecDeque<LogLine>, Seen)> {
    let (mut kept, mut before) = (LogTail::new(tail), Seen::default());
    while let Some(line) = log.next().await {
        kept.push(line?).iter().for_each(|line| before.count(line));
    }
    Ok((kept.into_lines(), before))
}
