//! Logs: the segments that shims write, read from their beginning and followed by the kernel's notice of changes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use hythe_runtime::{InstanceId, LogLine, LogOptions, LogStream, Logs, OpContext, Result, State, StdStream};
use hythe_shim::journal::{numbers, segment};
use hythe_shim::logs::{Piece, Stream, parse};
use jiff::Timestamp;
use rustix::fs::inotify::WatchFlags;
use tokio_util::sync::CancellationToken;

use crate::core::{Core, Shared};
use crate::driver::Embedded;
use crate::error::{Doing, blocking, bounded};
use crate::instances::Record;
use crate::notice::Notice;

const PIECE: usize = 256 << 10;

/// A line that has no line feed yet.
#[derive(Debug, Default)]
struct Part {
    bytes: BytesMut,
    time: Option<Timestamp>,
}

/// Reads segments in order.
#[derive(Debug)]
struct Reader {
    directory: PathBuf,
    current: Option<(u64, File)>,
    bytes: Vec<u8>,
    parts: [Part; 2],
    lines: VecDeque<LogLine>,
}

impl Reader {
    fn new(directory: PathBuf) -> Self {
        Self { directory, current: None, bytes: Vec::new(), parts: Default::default(), lines: VecDeque::new() }
    }

    /// Reads some of what is there into `lines`; `false`: there is no more now.
    fn read(&mut self) -> std::io::Result<bool> {
        let Some((number, file)) = &mut self.current else { return self.advance(0) };
        let number = *number;
        let mut piece = vec![0; PIECE];
        let length = file.read(&mut piece)?;
        if length == 0 {
            // A segment that has a successor is written no more, but may have been between the two looks.
            if numbers(&self.directory)?.last().is_none_or(|last| *last <= number) {
                return Ok(false);
            }
            let length = self.current.as_mut().map_or(Ok(0), |(_, file)| file.read(&mut piece))?;
            if length == 0 {
                return self.advance(number);
            }
            self.take(&piece[..length]);
            return Ok(true);
        }
        self.take(&piece[..length]);
        Ok(true)
    }

    fn advance(&mut self, after: u64) -> std::io::Result<bool> {
        let all = match numbers(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            all => all?,
        };
        let Some(next) = all.into_iter().find(|number| *number > after) else { return Ok(false) };
        self.current = Some((next, File::open(segment(&self.directory, next))?));
        Ok(true)
    }

    fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let mut rest = std::mem::take(&mut self.bytes);
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in rest[..whole].split(|byte| *byte == b'\n') {
            if let Some(piece) = parse(line) {
                self.join(&piece);
            }
        }
        rest.drain(..whole);
        self.bytes = rest;
    }

    fn join(&mut self, piece: &Piece<'_>) {
        let part = &mut self.parts[usize::from(piece.stream == Stream::Stderr)];
        part.bytes.extend_from_slice(piece.bytes);
        part.time.get_or_insert(piece.time);
        if !piece.partial {
            let line = std::mem::take(part).line(piece.stream, true);
            self.lines.push_back(line);
        }
    }

    /// What never got its line feed.
    fn finish(&mut self) {
        for (stream, part) in [Stream::Stdout, Stream::Stderr].into_iter().zip(&mut self.parts) {
            if part.time.is_some() {
                self.lines.push_back(std::mem::take(part).line(stream, false));
            }
        }
    }
}

impl Part {
    fn line(self, stream: Stream, terminated: bool) -> LogLine {
        let stream = if stream == Stream::Stdout { StdStream::Stdout } else { StdStream::Stderr };
        LogLine { stream, time: self.time, line: Bytes::from(self.bytes), terminated }
    }
}

fn in_time(line: &LogLine, options: &LogOptions) -> bool {
    line.time.is_none_or(|time| {
        options.since.is_none_or(|since| time >= since) && options.until.is_none_or(|until| time < until)
    })
}

struct Follower {
    core: Shared,
    record: Record,
    reader: Reader,
    options: LogOptions,
    notice: Notice,
    cancel: CancellationToken,
    ended: bool,
}

#[async_trait]
impl Logs for Embedded {
    async fn logs(&self, cx: &OpContext, id: &InstanceId, options: &LogOptions) -> Result<LogStream> {
        let (core, id, options) = (Arc::clone(&self.core), id.clone(), options.clone());
        let opened = blocking("logs", move || open(core, &id, options));
        let (mut follower, lines) = bounded(cx, "logs", opened).await?;
        follower.cancel = cx.cancel.clone();
        let first = stream::iter(lines.into_iter().map(Ok));
        if follower.ended {
            return Ok(first.boxed());
        }
        Ok(first.chain(stream::unfold(follower, next)).boxed())
    }
}

fn open(core: Shared, id: &InstanceId, options: LogOptions) -> Result<(Follower, VecDeque<LogLine>)> {
    let (record, _) = core.instances.find("logs", id)?;
    let directory = core.instances.directory(&record.id);
    std::fs::create_dir_all(directory.logs()).doing("logs", "open the log")?;
    let changes = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
    let notice = Notice::of(&[&directory.logs(), directory.path()], changes).doing("logs", "watch the log")?;
    let mut reader = Reader::new(directory.logs());
    let mut follower_ended = !options.follow || has_ended(&core, &record)?;
    while reader.read().doing("logs", "read the log")? {}
    if follower_ended {
        reader.finish();
    }
    let mut lines: VecDeque<LogLine> = std::mem::take(&mut reader.lines);
    lines.retain(|line| in_time(line, &options));
    if let Some(tail) = options.tail.and_then(|tail| usize::try_from(tail).ok()) {
        lines.drain(..lines.len().saturating_sub(tail));
    }
    follower_ended |= options.until.is_some_and(|until| until <= Timestamp::now());
    let cancel = CancellationToken::new();
    Ok((Follower { core, record, reader, options, notice, cancel, ended: follower_ended }, lines))
}

fn has_ended(core: &Core, record: &Record) -> Result<bool> {
    if core.instances.read("logs", &record.id)?.is_none() {
        return Ok(true);
    }
    let seen = crate::observe::state(core, "logs", record)?;
    // One that is being started counts as running.
    let starting = seen.run.is_some_and(|run| run.phase == hythe_shim::record::Phase::Starting);
    Ok(!starting && !matches!(seen.state, State::Running | State::Paused))
}

async fn next(mut follower: Follower) -> Option<(Result<LogLine>, Follower)> {
    loop {
        if let Some(line) = follower.reader.lines.pop_front() {
            if in_time(&line, &follower.options) {
                return Some((Ok(line), follower));
            }
            continue;
        }
        if follower.ended {
            return None;
        }
        let (back, more) = tokio::task::spawn_blocking(move || {
            // Asked before reading: what was written before the end is read after it.
            let outcome = has_ended(&follower.core, &follower.record).and_then(|ended| {
                while follower.reader.lines.len() < 1000 {
                    if !follower.reader.read().doing("logs", "read the log")? {
                        follower.ended = ended;
                        break;
                    }
                }
                Ok(())
            });
            if follower.ended {
                follower.reader.finish();
            }
            (follower, outcome)
        })
        .await
        .ok()?;
        follower = back;
        if let Err(error) = more {
            follower.ended = true;
            return Some((Err(error), follower));
        }
        if follower.ended || !follower.reader.lines.is_empty() {
            continue;
        }
        let until = follower.options.until;
        tokio::select! {
            changed = follower.notice.changed() => if changed.is_err() { return None },
            () = follower.cancel.cancelled() => return None,
            () = reached(until) => follower.ended = true,
        }
    }
}

async fn reached(until: Option<Timestamp>) {
    match until.map(|until| std::time::Duration::try_from(until - Timestamp::now().max(Timestamp::UNIX_EPOCH))) {
        Some(left) => tokio::time::sleep(left.unwrap_or_default()).await,
        None => std::future::pending().await,
    }
}
