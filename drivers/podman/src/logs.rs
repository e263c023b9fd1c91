//! Logs: conmon's file read directly, since `podman logs` loses an unterminated last line; `podman logs` for other drivers.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::StreamExt;
use hythe_runtime::log_lines::in_time;
use hythe_runtime::{
    Error, ErrorKind, InstanceRef, LogLine, LogOptions, LogStream, LogTail, Logs, OpContext, OpenLine, Result, State,
    StdStream,
};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, poll};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::api_types::Container;
use crate::client::About;
use crate::driver::Podman;
use crate::k8s_file::LogParser;
use crate::program::Invocation;
use crate::{error, pidfd};

const CHUNK: usize = 64 * 1024;
/// Lines that wait for a reader; each may be as long as a line can be.
const QUEUE: usize = 16;
/// No time that podman writes is longer.
const LONGEST_STAMP: usize = 64;
/// Pause between looks at a log that just grew: short, so that no rotation falls between two looks.
pub(crate) const BUSY: Duration = Duration::from_millis(5);
/// How long the monitor of an ended instance may take for the rest of its last line.
const LINGER: Duration = Duration::from_secs(2);
pub(crate) const IDLE: Duration = Duration::from_millis(40);

#[async_trait]
impl Logs for Podman {
    async fn logs(&self, cx: &OpContext, instance: &InstanceRef, options: &LogOptions) -> Result<LogStream> {
        let about = About { operation: "logs", subject: instance.as_str() };
        let container = self.container(cx, "logs", instance).await?;
        if container.state() == State::Created {
            return Ok(futures_util::stream::empty().boxed());
        }
        let log = &container.host_config.log_config;
        let (sender, receiver) = mpsc::channel(QUEUE);
        match log.driver.as_str() {
            _ if log.is_file() && self.local.is_some() => {
                tokio::spawn(Reader::new(&container, options, sender).read());
            }
            "none" | "passthrough" => return Err(not_kept(about, &log.driver)),
            _ => self.relay(about, options, sender)?,
        }
        let cancel = cx.cancel.clone();
        Ok(ReceiverStream::new(receiver).take_until(async move { cancel.cancelled().await }).boxed())
    }
}

fn not_kept(about: About<'_>, driver: &str) -> Error {
    let message = format!("`{}`: its log driver `{driver}` keeps no log", about.subject);
    Error::new(ErrorKind::Unsupported, about.operation, message)
}

type Sender = mpsc::Sender<Result<LogLine>>;

/// Reads one log file from its beginning to the instance's end.
struct Reader {
    path: PathBuf,
    id: String,
    options: LogOptions,
    /// `None`: nothing more will be written.
    monitor: Option<Monitor>,
    /// It reads on while the instance runs.
    follow: bool,
    /// Until when an unended last line may still be written to its end.
    linger: Option<Instant>,
    parser: LogParser,
    sender: Sender,
    /// Lines held back for `tail`; `None` once they are out.
    held: Option<LogTail>,
}

/// Nobody listens any more.
struct Deaf;

impl Reader {
    fn new(container: &Container, options: &LogOptions, sender: Sender) -> Self {
        let ended = matches!(container.state(), State::Exited | State::Removing);
        let follow = options.follow && !ended;
        Self {
            monitor: (follow || ended).then(|| Monitor::of(container.state.conmon_pid)).flatten(),
            follow,
            linger: ended.then(|| Instant::now() + LINGER),
            path: PathBuf::from(&container.host_config.log_config.path),
            id: container.id.clone(),
            options: options.clone(),
            parser: LogParser::new(container.monitored()),
            sender,
            held: options.tail.map(LogTail::new),
        }
    }

    async fn read(mut self) {
        if let Err(cause) = self.follow().await {
            let message = format!("`{}`: its log `{}` cannot be read: {cause}", self.id, self.path.display());
            let error = Error::new(ErrorKind::Unavailable, "logs", message).source(cause);
            let _nobody_listens = self.sender.send(Err(error)).await;
        }
    }

    async fn follow(&mut self) -> io::Result<()> {
        let Some(mut file) = open(&self.path).await? else {
            return Ok(());
        };
        loop {
            // Asked before reading: what is written before the end is then surely read.
            let over = self.is_over();
            let Ok(grown) = self.drain(&mut file).await? else {
                return Ok(());
            };
            if let Some(next) = rotated(&self.path, &file).await? {
                // It may have grown between its end and its replacement; now it grows no more.
                if self.drain(&mut file).await?.is_err() {
                    return Ok(());
                }
                file = next;
                continue;
            }
            if over || !(self.follow || self.lingers()) {
                let _nobody_listens = self.finish().await;
                return Ok(());
            }
            // What an ended instance may still say counts for `tail`.
            if self.follow && self.release().await.is_err() {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(if grown { BUSY } else { IDLE }) => {}
                () = self.sender.closed() => return Ok(()),
            }
        }
    }

    fn is_over(&self) -> bool {
        let late = self.options.until.is_some_and(|until| hythe_runtime::Clock::system().now() >= until);
        late || self.monitor.as_ref().is_none_or(Monitor::is_over)
    }

    /// Whether the monitor of an ended instance may still be writing the rest of its last line.
    fn lingers(&self) -> bool {
        self.parser.is_open() && self.linger.is_some_and(|end| Instant::now() < end)
    }

    /// Reads to the end of the file; says whether there was anything.
    async fn drain(&mut self, file: &mut File) -> io::Result<std::result::Result<bool, Deaf>> {
        let mut chunk = vec![0; CHUNK];
        let mut grown = false;
        loop {
            let length = file.read(&mut chunk).await?;
            if length == 0 {
                return Ok(Ok(grown));
            }
            grown = true;
            let mut lines = Vec::new();
            self.parser.feed(&chunk[..length], &mut lines);
            if self.pass(lines).await.is_err() {
                return Ok(Err(Deaf));
            }
        }
    }

    async fn pass(&mut self, lines: Vec<LogLine>) -> std::result::Result<(), Deaf> {
        for line in lines {
            if !in_time(&line, self.options.since, self.options.until) {
                continue;
            }
            match &mut self.held {
                Some(held) => drop(held.push(line)),
                None => self.send(line).await?,
            }
        }
        Ok(())
    }

    async fn finish(&mut self) -> std::result::Result<(), Deaf> {
        let mut open = Vec::new();
        self.parser.finish(&mut open);
        self.pass(open).await?;
        self.release().await
    }

    /// Lets the lines held back go; from now on each goes at once.
    async fn release(&mut self) -> std::result::Result<(), Deaf> {
        for line in self.held.take().into_iter().flat_map(LogTail::into_lines) {
            self.send(line).await?;
        }
        Ok(())
    }

    async fn send(&self, line: LogLine) -> std::result::Result<(), Deaf> {
        self.sender.send(Ok(line)).await.map_err(|_| Deaf)
    }
}

pub(crate) async fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path).await {
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// The new file, where conmon has put one in place of the one that was read to its end.
pub(crate) async fn rotated(path: &Path, file: &File) -> io::Result<Option<File>> {
    let Some(now) = open(path).await? else {
        return Ok(None);
    };
    let same = now.metadata().await?.ino() == file.metadata().await?.ino();
    Ok((!same).then_some(now))
}

/// The process that writes the log; it ends after its last line.
#[derive(Debug)]
pub(crate) struct Monitor(OwnedFd);

impl Monitor {
    /// `None` where it is gone already.
    pub(crate) fn of(conmon: u32) -> Option<Self> {
        let process = pidfd::open(conmon)?;
        let name = std::fs::read_to_string(format!("/proc/{conmon}/comm")).ok()?;
        name.starts_with("conmon").then_some(Self(process))
    }

    pub(crate) fn is_over(&self) -> bool {
        let mut watched = [PollFd::new(&self.0, PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut watched, Some(&now)).map_or(true, |ready| ready > 0)
    }
}

impl Podman {
    /// What `podman logs` prints, for log drivers whose store only podman can read.
    fn relay(&self, about: About<'_>, options: &LogOptions, sender: Sender) -> Result<()> {
        let mut command = self.program.command(&Invocation::from(arguments(about.subject, options)));
        let mut child = command.kill_on_drop(true).spawn().map_err(|cause| self.program.not_started(about, cause))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let id = about.subject.to_owned();
        tokio::spawn(async move {
            let (mut last_log_lines, ended) = {
                let both = tokio::join!(
                    relay_lines(stdout, StdStream::Stdout, &sender),
                    relay_lines(stderr, StdStream::Stderr, &sender)
                );
                (both.1, child.wait().await)
            };
            if !ended.is_ok_and(|status| status.success()) {
                last_log_lines.truncate(4096);
                let failure = error::translate(About { operation: "logs", subject: &id }, 125, &last_log_lines);
                let _nobody_listens = sender.send(Err(failure)).await;
            }
        });
        Ok(())
    }
}

fn arguments(id: &str, options: &LogOptions) -> Vec<String> {
    let LogOptions { tail, since, until, follow } = options;
    let mut args = vec!["logs".to_owned(), "--timestamps".to_owned()];
    args.extend(tail.map(|tail| format!("--tail={tail}")));
    args.extend(since.map(|since| format!("--since={since}")));
    args.extend(until.map(|until| format!("--until={until}")));
    args.extend(follow.then(|| "--follow".to_owned()));
    args.push(id.to_owned());
    args
}

/// Sends each line on; returns the last one that carried no time, which is podman's own word.
async fn relay_lines(pipe: Option<impl AsyncRead + Unpin>, stream: StdStream, sender: &Sender) -> String {
    let mut relayed = Relayed { stream, stamp: None, line: OpenLine::default(), own_words: String::new() };
    let Some(mut pipe) = pipe else { return String::new() };
    let (mut chunk, mut rest) = (vec![0; CHUNK], Vec::new());
    while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
        rest.extend_from_slice(&chunk[..length]);
        let mut lines = Vec::new();
        relayed.take(&mut rest, false, &mut lines);
        for line in lines {
            if sender.send(Ok(line)).await.is_err() {
                return relayed.own_words;
            }
        }
    }
    let mut lines = Vec::new();
    relayed.take(&mut rest, true, &mut lines);
    for line in lines {
        let _nobody_listens = sender.send(Ok(line)).await;
    }
    relayed.own_words
}

/// What `podman logs` prints on one of its streams, line by line.
#[derive(Debug)]
struct Relayed {
    stream: StdStream,
    /// Of the line that is being read; absent at its beginning, `Some(None)` in a line of podman's own.
    stamp: Option<Option<Timestamp>>,
    line: OpenLine,
    own_words: String,
}

impl Relayed {
    /// Takes what can be taken of the bytes; all of it at the end.
    fn take(&mut self, bytes: &mut Vec<u8>, at_end: bool, lines: &mut Vec<LogLine>) {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let feed = rest.iter().position(|byte| *byte == b'\n');
            let stamp = match self.stamp {
                Some(stamp) => stamp,
                // Its time may not be there yet.
                None if feed.is_none() && rest.len() < LONGEST_STAMP && !at_end => break,
                None => {
                    let stamped = stamped(&rest[..feed.unwrap_or(rest.len())]);
                    rest = stamped.map_or(rest, |(_, length)| &rest[length..]);
                    *self.stamp.insert(stamped.map(|(time, _)| time))
                }
            };
            let feed = rest.iter().position(|byte| *byte == b'\n');
            let text = &rest[..feed.unwrap_or(rest.len())];
            match stamp {
                Some(time) => self.line.push(self.stream, Some(time), text, lines),
                None => self.own_words = String::from_utf8_lossy(text).into_owned(),
            }
            rest = &rest[text.len() + usize::from(feed.is_some())..];
            if feed.is_some() {
                self.stamp = None;
                self.line.end(self.stream, true, lines);
            }
        }
        let taken = bytes.len() - rest.len();
        bytes.drain(..taken);
        if at_end {
            self.line.end(self.stream, false, lines);
        }
    }
}

/// The time at the beginning of a line, and the length of what comes before its text.
fn stamped(line: &[u8]) -> Option<(Timestamp, usize)> {
    let space = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let time = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
    Some((time, line.len().min(space + 1)))
}

#[cfg(test)]
mod tests {
    use hythe_runtime::MAX_LOG_LINE;

    use super::*;

    fn relayed(text: &[u8], step: usize) -> (Vec<LogLine>, String) {
        let stream = StdStream::Stdout;
        let mut relayed = Relayed { stream, stamp: None, line: OpenLine::default(), own_words: String::new() };
        let (mut lines, mut rest) = (Vec::new(), Vec::new());
        for chunk in text.chunks(step) {
            rest.extend_from_slice(chunk);
            relayed.take(&mut rest, false, &mut lines);
            assert!(rest.len() < LONGEST_STAMP, "no line is kept whole");
        }
        relayed.take(&mut rest, true, &mut lines);
        (lines, relayed.own_words)
    }

    #[test]
    fn relayed_lines_lose_their_time_and_long_ones_come_in_parts() {
        let mut text = b"2026-11-22T09:57:36.5Z a\n2026-11-22T09:57:37Z \nError: own\n2026-11-22T09:57:38Z ".to_vec();
        text.extend(vec![b'x'; 2 * MAX_LOG_LINE + 3]);
        for step in [7, CHUNK] {
            let (lines, own_words) = relayed(&text, step);
            let got: Vec<_> = lines.iter().map(|line| (line.line.len(), line.terminated, line.partial)).collect();
            let part = (MAX_LOG_LINE, false, true);
            assert_eq!(got, [(1, true, false), (0, true, false), part, part, (3, false, false)]);
            assert_eq!(own_words, "Error: own");
        }
    }
}
