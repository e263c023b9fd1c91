//! Logs: conmon's file read directly, since `podman logs` loses an unterminated last line; `podman logs` for other drivers.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use hythe_runtime::{
    Error, ErrorKind, InstanceId, LogLine, LogOptions, LogStream, Logs, OpContext, Result, State, StdStream,
};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, poll};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::{About, Invocation};
use crate::document::Container;
use crate::driver::Podman;
use crate::logfile::Assembler;
use crate::{error, process};

const CHUNK: usize = 64 * 1024;
const QUEUE: usize = 256;
/// Pause between looks at a log that just grew: short, so that no rotation falls between two looks.
const BUSY: Duration = Duration::from_millis(5);
/// How long the monitor of an ended instance may take for the rest of its last line.
const LINGER: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_millis(40);

#[async_trait]
impl Logs for Podman {
    async fn logs(&self, cx: &OpContext, id: &InstanceId, options: &LogOptions) -> Result<LogStream> {
        let about = About { operation: "logs", subject: &id.0 };
        let container = self.container(cx, about).await?;
        if container.state() == State::Created {
            return Ok(futures_util::stream::empty().boxed());
        }
        let log = &container.host_config.log_config;
        let (sender, receiver) = mpsc::channel(QUEUE);
        match log.driver.as_str() {
            "k8s-file" | "json-file" if self.local.is_some() => {
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
    assembler: Assembler,
    sender: Sender,
    /// Lines held back for `tail`; `None` once they are out.
    held: Option<VecDeque<LogLine>>,
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
            assembler: Assembler::new(container.monitored()),
            sender,
            held: options.tail.map(|_| VecDeque::new()),
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
        let late = self.options.until.is_some_and(|until| Timestamp::now() >= until);
        late || self.monitor.as_ref().is_none_or(Monitor::is_over)
    }

    /// Whether the monitor of an ended instance may still be writing the rest of its last line.
    fn lingers(&self) -> bool {
        self.assembler.is_open() && self.linger.is_some_and(|end| Instant::now() < end)
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
            self.assembler.feed(&chunk[..length], &mut lines);
            if self.pass(lines).await.is_err() {
                return Ok(Err(Deaf));
            }
        }
    }

    async fn pass(&mut self, lines: Vec<LogLine>) -> std::result::Result<(), Deaf> {
        for line in lines {
            if !self.is_wanted(&line) {
                continue;
            }
            match (&mut self.held, self.options.tail) {
                (Some(held), Some(tail)) => hold(held, line, tail),
                _ => self.send(line).await?,
            }
        }
        Ok(())
    }

    fn is_wanted(&self, line: &LogLine) -> bool {
        let after = self.options.since.is_none_or(|since| line.time.is_none_or(|time| time >= since));
        let before = self.options.until.is_none_or(|until| line.time.is_none_or(|time| time < until));
        after && before
    }

    async fn finish(&mut self) -> std::result::Result<(), Deaf> {
        let mut open = Vec::new();
        self.assembler.finish(&mut open);
        self.pass(open).await?;
        self.release().await
    }

    /// Lets the lines held back go; from now on each goes at once.
    async fn release(&mut self) -> std::result::Result<(), Deaf> {
        for line in self.held.take().into_iter().flatten() {
            self.send(line).await?;
        }
        Ok(())
    }

    async fn send(&self, line: LogLine) -> std::result::Result<(), Deaf> {
        self.sender.send(Ok(line)).await.map_err(|_| Deaf)
    }
}

fn hold(held: &mut VecDeque<LogLine>, line: LogLine, tail: u64) {
    held.push_back(line);
    while u64::try_from(held.len()).is_ok_and(|length| length > tail) {
        held.pop_front();
    }
}

async fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path).await {
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// The new file, where conmon has put one in place of the one that was read to its end.
async fn rotated(path: &Path, file: &File) -> io::Result<Option<File>> {
    let Some(now) = open(path).await? else {
        return Ok(None);
    };
    let same = now.metadata().await?.ino() == file.metadata().await?.ino();
    Ok((!same).then_some(now))
}

/// The process that writes the log; it ends after its last line.
#[derive(Debug)]
struct Monitor(OwnedFd);

impl Monitor {
    /// `None` where it is gone already.
    fn of(conmon: u32) -> Option<Self> {
        let process = process::open(conmon)?;
        let name = std::fs::read_to_string(format!("/proc/{conmon}/comm")).ok()?;
        name.starts_with("conmon").then_some(Self(process))
    }

    fn is_over(&self) -> bool {
        let mut watched = [PollFd::new(&self.0, PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut watched, Some(&now)).map_or(true, |ready| ready > 0)
    }
}

impl Podman {
    /// What `podman logs` prints, for log drivers whose store only podman can read.
    fn relay(&self, about: About<'_>, options: &LogOptions, sender: Sender) -> Result<()> {
        let mut command = self.client.command(&Invocation::from(arguments(about.subject, options)));
        let mut child = command.kill_on_drop(true).spawn().map_err(|cause| self.client.not_started(about, cause))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let id = about.subject.to_owned();
        tokio::spawn(async move {
            let (mut last_words, ended) = {
                let both = tokio::join!(
                    relay_lines(stdout, StdStream::Stdout, &sender),
                    relay_lines(stderr, StdStream::Stderr, &sender)
                );
                (both.1, child.wait().await)
            };
            if !ended.is_ok_and(|status| status.success()) {
                last_words.truncate(4096);
                let failure = error::translate(About { operation: "logs", subject: &id }, 125, &last_words);
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
    let mut own_words = String::new();
    let Some(pipe) = pipe else { return own_words };
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
        let terminated = line.last() == Some(&b'\n');
        if terminated {
            line.pop();
        }
        match stamped(&line) {
            Some((time, bytes)) => {
                let line = LogLine { stream, time: Some(time), line: Bytes::copy_from_slice(bytes), terminated };
                if sender.send(Ok(line)).await.is_err() {
                    break;
                }
            }
            None => own_words = String::from_utf8_lossy(&line).into_owned(),
        }
        line.clear();
    }
    own_words
}

fn stamped(line: &[u8]) -> Option<(Timestamp, &[u8])> {
    let space = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let time = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
    Some((time, line.get(space + 1..).unwrap_or_default()))
}
