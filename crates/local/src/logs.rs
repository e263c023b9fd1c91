//! Logs: the segments that supervisors write, read from their beginning and followed by the kernel's notice of changes.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hythe_runtime::context::run_blocking;
use hythe_runtime::log_lines::in_time;
use hythe_runtime::{LogLine, LogOptions, LogStream, LogTail, MAX_LOG_LINE, OpContext, OpenLine, Result, StdStream};
use hythe_shim::Directory;
use hythe_shim::journal::{numbers, segment};
use hythe_shim::logs::{Piece, Stream, parse};
use jiff::Timestamp;
use rustix::fs::inotify::WatchFlags;
use tokio_util::sync::CancellationToken;

use crate::IoContext;
use crate::inotify::Inotify;

const PIECE: usize = 256 << 10;

/// Bytes of lines that are read ahead of whoever takes them.
const READ_AHEAD: usize = MAX_LOG_LINE;

/// Reads segments in order.
#[derive(Debug)]
struct Reader {
    directory: PathBuf,
    current: Option<(u64, File)>,
    /// Nothing after this segment and this byte of it is read.
    end: Option<(u64, u64)>,
    offset: u64,
    bytes: Vec<u8>,
    parts: [OpenLine; 2],
    lines: VecDeque<LogLine>,
    /// Lines before the next one were rotated away.
    gap: bool,
}

impl Reader {
    fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            current: None,
            end: None,
            offset: 0,
            bytes: Vec::new(),
            parts: Default::default(),
            lines: VecDeque::new(),
            gap: false,
        }
    }

    /// Reads no more than what is there now: a busy writer does not keep a reader that follows nothing.
    fn end_here(&mut self) -> std::io::Result<()> {
        let last = self.segments()?.last().copied().unwrap_or(0);
        let length = std::fs::metadata(segment(&self.directory, last)).map_or(0, |metadata| metadata.len());
        self.end = Some((last, length));
        Ok(())
    }

    /// Numbers of the segments; none where the whole log has gone with its instance.
    fn segments(&self) -> std::io::Result<Vec<u64>> {
        match numbers(&self.directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            all => all,
        }
    }

    /// Reads until some bytes of lines are there; `false`: there is no more now.
    fn read_ahead(&mut self) -> std::io::Result<bool> {
        while self.lines.iter().map(|line| line.line.len() + 1).sum::<usize>() < READ_AHEAD {
            if !self.read()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads some of what is there into `lines`; `false`: there is no more now.
    fn read(&mut self) -> std::io::Result<bool> {
        let Some((number, file)) = &mut self.current else { return self.advance(0) };
        let number = *number;
        let wanted = match self.end {
            Some((last, _)) if number > last => 0,
            Some((last, length)) if number == last => length.saturating_sub(self.offset),
            _ => u64::MAX,
        };
        if wanted == 0 {
            return Ok(false);
        }
        let mut piece = vec![0; usize::try_from(wanted).unwrap_or(PIECE).min(PIECE)];
        let length = file.read(&mut piece)?;
        if length == 0 {
            // A segment that has a successor is written no more, but may have been between the two looks.
            if self.segments()?.last().is_none_or(|last| *last <= number) {
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
        loop {
            let Some(next) = self.segments()?.into_iter().find(|number| *number > after) else { return Ok(false) };
            let file = match File::open(segment(&self.directory, next)) {
                // It was rotated away just now, or the whole log goes.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened?,
            };
            if next > after + 1 {
                self.break_off();
            }
            (self.current, self.offset) = (Some((next, file)), 0);
            return Ok(true);
        }
    }

    /// Segments between the last one and the next one are gone: no line goes on over them.
    fn break_off(&mut self) {
        self.bytes.clear();
        self.finish();
        self.gap = true;
    }

    fn take(&mut self, bytes: &[u8]) {
        self.offset += bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        let mut rest = std::mem::take(&mut self.bytes);
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in rest[..whole].split(|byte| *byte == b'\n') {
            if let Some(piece) = parse(line) {
                self.join(&piece);
            }
        }
        rest.drain(..whole);
        // No shim writes that long a record: this is no log.
        if rest.len() > MAX_LOG_LINE {
            rest.clear();
        }
        self.bytes = rest;
    }

    fn join(&mut self, piece: &Piece<'_>) {
        let (at, stream) = match piece.stream {
            Stream::Stdout => (0, StdStream::Stdout),
            Stream::Stderr => (1, StdStream::Stderr),
        };
        let before = self.lines.len();
        self.parts[at].push(stream, Some(piece.time), piece.bytes, &mut self.lines);
        if !piece.partial {
            self.parts[at].end(stream, true, &mut self.lines);
        }
        if let Some(line) = self.lines.get_mut(before).filter(|_| self.gap) {
            (line.after_gap, self.gap) = (true, false);
        }
    }

    /// What never got its line feed.
    fn finish(&mut self) {
        for (at, stream) in [StdStream::Stdout, StdStream::Stderr].into_iter().enumerate() {
            self.parts[at].end(stream, false, &mut self.lines);
        }
    }
}

/// Whether an instance has ended, with all its output in the log. Called where it may block.
pub type HasEnded = Box<dyn Fn() -> Result<bool> + Send + Sync>;

/// How the end of an instance is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndNotice {
    /// A file of its directory changes after it.
    Directory,
    /// Nothing tells: it is asked for so often.
    Every(Duration),
}

struct Follower {
    has_ended: HasEnded,
    end_notice: EndNotice,
    reader: Reader,
    options: LogOptions,
    notice: Inotify,
    cancel: CancellationToken,
    ended: bool,
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("reader", &self.reader).field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// The log in an instance's directory.
///
/// # Errors
/// It cannot be read, or watched.
pub async fn logs(
    cx: &OpContext,
    directory: Directory,
    options: &LogOptions,
    has_ended: HasEnded,
    end_notice: EndNotice,
) -> Result<LogStream> {
    let options = options.clone();
    let opened = run_blocking("logs", move || open(&directory, options, has_ended, end_notice));
    let (mut follower, lines) = cx.with_deadline("logs", opened).await?;
    follower.cancel = cx.cancel.clone();
    let first = stream::iter(lines.into_iter().map(Ok));
    Ok(first.chain(stream::unfold(follower, next)).boxed())
}

fn open(
    directory: &Directory,
    options: LogOptions,
    has_ended: HasEnded,
    end_notice: EndNotice,
) -> Result<(Follower, VecDeque<LogLine>)> {
    std::fs::create_dir_all(directory.logs()).context("logs", "open the log")?;
    let changes = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
    let notice = Inotify::of(&[&directory.logs(), directory.path()], changes).context("logs", "watch the log")?;
    let mut reader = Reader::new(directory.logs());
    if !options.follow {
        reader.end_here().context("logs", "read the log")?;
    }
    let cancel = CancellationToken::new();
    let mut follower = Follower { has_ended, end_notice, reader, options, notice, cancel, ended: false };
    let lines = match follower.options.tail {
        Some(tail) => follower.tail(tail)?,
        None => VecDeque::new(),
    };
    Ok((follower, lines))
}

impl Follower {
    /// The last so many lines of what is there.
    fn tail(&mut self, wanted: u64) -> Result<VecDeque<LogLine>> {
        let mut tail = LogTail::new(wanted);
        let ended = !self.options.follow || (self.has_ended)()?;
        loop {
            let more = self.reader.read().context("logs", "read the log")?;
            if !more && ended {
                self.reader.finish();
            }
            for line in self.reader.lines.drain(..).filter(|line| in_time(line, self.options.since, self.options.until))
            {
                tail.push(line);
            }
            if !more {
                break;
            }
        }
        self.ended = ended || self.options.until.is_some_and(|until| until <= hythe_runtime::Clock::system().now());
        Ok(tail.into_lines())
    }
}

async fn next(mut follower: Follower) -> Option<(Result<LogLine>, Follower)> {
    loop {
        if let Some(line) = follower.reader.lines.pop_front() {
            if in_time(&line, follower.options.since, follower.options.until) {
                return Some((Ok(line), follower));
            }
            continue;
        }
        if follower.ended {
            return None;
        }
        let (back, more) = tokio::task::spawn_blocking(move || {
            // Asked before reading: what was written before the end is read after it.
            let over = || Ok(!follower.options.follow || (follower.has_ended)()?);
            let outcome = over().and_then(|ended| {
                let more = follower.reader.read_ahead().context("logs", "read the log")?;
                follower.ended = ended && !more;
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
            () = due(follower.end_notice) => {}
        }
    }
}

async fn due(notice: EndNotice) {
    match notice {
        EndNotice::Every(time) => tokio::time::sleep(time).await,
        EndNotice::Directory => std::future::pending().await,
    }
}

async fn reached(until: Option<Timestamp>) {
    match until.map(|until| {
        std::time::Duration::try_from(until - hythe_runtime::Clock::system().now().max(Timestamp::UNIX_EPOCH))
    }) {
        Some(left) => tokio::time::sleep(left.unwrap_or_default()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::path::Path;

    use super::*;

    fn write(directory: &Path, number: u64, records: &str) {
        std::fs::write(segment(directory, number), records).unwrap();
    }

    fn record(kind: char, text: &str) -> String {
        format!("2026-11-30T12:00:00.000000000Z o {kind} {text}\n")
    }

    fn read(reader: &mut Reader) -> Vec<(String, bool, bool)> {
        while reader.read().unwrap() {}
        let told = |line: LogLine| (String::from_utf8(line.line.to_vec()).unwrap(), line.terminated, line.after_gap);
        reader.lines.drain(..).map(told).collect()
    }

    #[test]
    fn lines_that_were_rotated_away_unread_are_a_gap_once() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        write(directory, 1, &(record('F', "one") + &record('P', "cut")));
        let mut reader = Reader::new(directory.to_owned());
        assert_eq!(read(&mut reader), [("one".to_owned(), true, false)]);
        write(directory, 2, &record('F', "two"));
        write(directory, 3, &(record('F', "three") + &record('F', "and on")));
        std::fs::remove_file(segment(directory, 2)).unwrap();
        let came = read(&mut reader);
        let wanted = [("cut", false, false), ("three", true, true), ("and on", true, false)];
        assert_eq!(came, wanted.map(|(text, ended, gap)| (text.to_owned(), ended, gap)));
        write(directory, 4, &record('F', "four"));
        assert_eq!(read(&mut reader), [("four".to_owned(), true, false)]);
    }

    #[test]
    fn log_whose_beginning_is_gone_begins_with_a_gap() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), 7, &record('F', "seven"));
        let mut reader = Reader::new(directory.path().to_owned());
        assert_eq!(read(&mut reader), [("seven".to_owned(), true, true)]);
    }
}
