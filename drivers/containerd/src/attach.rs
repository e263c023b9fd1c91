//! Connections to main processes: their output is read from the log, which has every byte as soon as it is written.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use hythe_local::IoContext;
use hythe_local::inotify::Inotify;
use hythe_runtime::context::run_blocking;
use hythe_runtime::{AttachRequest, Error, ErrorKind, InstanceRef, Result, Session, StdStream};
use hythe_shim::Directory;
use hythe_shim::journal::{numbers, segment};
use hythe_shim::logs::{Stream, parse};
use rustix::fs::inotify::WatchFlags;
use tokio::io::AsyncWrite;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::context::SharedContext;
use crate::exec::{Ended, OnClose, Stdin, TaskProcess, exit, open_input, running};
use crate::streams::{self, STDIN};

const OPERATION: &str = "attach";
const WHAT: &str = "read the log";
/// Pieces of output that wait to be read.
const WAITS: usize = 64;
const PIECE: u64 = 64 << 10;

/// Connects to the main process of a running instance.
pub(crate) async fn attach(
    context: &SharedContext,
    instance: &InstanceRef,
    request: &AttachRequest,
) -> Result<Session> {
    let (record, _) = running(context, OPERATION, instance).await?;
    let process = TaskProcess {
        context: context.clone(),
        operation: OPERATION,
        container: record.id.clone(),
        exec: String::new(),
    };
    let directory = context.directory(&record.id);
    let input = (request.stdin && record.plan.stdin).then(|| input(&directory, &record.name)).transpose()?;
    let end = LogEnd::open(&directory)?;
    let ended = process.follow(process.wait().await?, None);
    if let Some(size) = request.size.filter(|_| record.plan.tty) {
        process.resize(size).await?;
    }
    let (to, pieces) = mpsc::channel(WAITS);
    tokio::spawn(handed_on(end, directory.clone(), ended.clone(), to));
    let resize = record.plan.tty.then(|| process.sizes());
    let output = ReceiverStream::new(pieces).boxed();
    let main = Main { process, directory, tty: record.plan.tty };
    let stdin = input.map(|pipe| Box::pin(Stdin::new(pipe, ended.clone(), main)) as Pin<Box<dyn AsyncWrite + Send>>);
    Ok(Session { stdin, output, resize, exit: exit(OPERATION, ended) })
}

/// The pipe of its stdin, which every session writes to.
fn input(directory: &Directory, name: &str) -> Result<pipe::Sender> {
    let path = directory.at(STDIN);
    match open_input(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let message = format!("the stdin of `{name}` is closed: an earlier session has ended it");
            Err(Error::new(ErrorKind::Conflict, OPERATION, message).hint("attach without stdin, or restart it"))
        }
        opened => opened.context(OPERATION, format_args!("open `{}`", path.display())),
    }
}

/// The stdin of the main process outlives sessions; only its end, where one sends it, is for good.
struct Main {
    process: TaskProcess,
    directory: Directory,
    tty: bool,
}

impl OnClose for Main {
    fn shut_down(&mut self) {
        // The end of a terminal's input would hang the terminal up.
        if !self.tty {
            // Absent is what is wanted.
            let _ = std::fs::remove_file(self.directory.at(STDIN));
            self.process.close_stdin();
        }
    }

    fn dropped(&mut self) {}
}

type Pieces = mpsc::Sender<Result<(StdStream, Bytes)>>;

async fn handed_on(mut end: LogEnd, directory: Directory, ended: Ended, to: Pieces) {
    let mut is_over = false;
    loop {
        let (back, read) = match run_blocking(OPERATION, move || Ok(end.read())).await {
            Ok(done) => done,
            Err(error) => {
                // Nobody may read any more.
                let _ = to.send(Err(error)).await;
                return;
            }
        };
        end = back;
        let pieces = match read {
            Ok(pieces) => pieces,
            Err(error) => {
                let _ = to.send(Err(error)).await;
                return;
            }
        };
        let is_quiet = pieces.is_empty();
        for piece in pieces {
            if to.send(Ok(piece)).await.is_err() {
                return;
            }
        }
        if !is_quiet {
            continue;
        }
        if is_over {
            return;
        }
        tokio::select! {
            changed = end.notice.changed() => if changed.is_err() { return },
            () = to.closed() => return,
            _ = ended.clone() => {
                let directory = directory.clone();
                // Its last output may still be on its way to the log.
                if run_blocking(OPERATION, move || streams::drained(&directory, OPERATION)).await.is_err() {
                    return;
                }
                is_over = true;
            }
        }
    }
}

/// What is written to a log from now on, as the bytes that it was.
struct LogEnd {
    logs: PathBuf,
    notice: Inotify,
    number: u64,
    file: Option<File>,
    rest: BytesMut,
}

impl LogEnd {
    fn open(directory: &Directory) -> Result<Self> {
        let logs = directory.logs();
        std::fs::create_dir_all(&logs).context(OPERATION, WHAT)?;
        let notice = Inotify::of(&[&logs], WatchFlags::MODIFY | WatchFlags::CREATE).context(OPERATION, WHAT)?;
        let number = numbers(&logs).context(OPERATION, WHAT)?.last().copied().unwrap_or(0);
        let mut file = File::open(segment(&logs, number)).ok();
        if let Some(file) = &mut file {
            file.seek(SeekFrom::End(0)).context(OPERATION, WHAT)?;
        }
        Ok(Self { logs, notice, number, file, rest: BytesMut::new() })
    }

    /// Some of what is there; nothing: there is no more now. Blocking.
    fn read(mut self) -> (Self, Result<Vec<(StdStream, Bytes)>>) {
        let read = self.more().context(OPERATION, WHAT);
        (self, read)
    }

    fn more(&mut self) -> std::io::Result<Vec<(StdStream, Bytes)>> {
        loop {
            // Asked before reading: a segment that has a successor by then is complete.
            let next = numbers(&self.logs)?.into_iter().find(|number| *number > self.number);
            let mut bytes = Vec::new();
            if let Some(file) = &mut self.file {
                file.take(PIECE).read_to_end(&mut bytes)?;
            }
            if !bytes.is_empty() {
                self.rest.extend_from_slice(&bytes);
                let pieces = self.pieces();
                if !pieces.is_empty() {
                    return Ok(pieces);
                }
                continue;
            }
            let Some(next) = next else { return Ok(Vec::new()) };
            self.rest.clear();
            (self.number, self.file) = (next, File::open(segment(&self.logs, next)).ok());
        }
    }

    fn pieces(&mut self) -> Vec<(StdStream, Bytes)> {
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines = self.rest.split_to(whole);
        let pieces = lines.as_ref().split(|byte: &u8| *byte == b'\n').filter_map(parse).map(|piece| {
            let stream = match piece.stream {
                Stream::Stdout => StdStream::Stdout,
                Stream::Stderr => StdStream::Stderr,
            };
            let mut bytes = piece.bytes.to_vec();
            if !piece.partial {
                bytes.push(b'\n');
            }
            (stream, Bytes::from(bytes))
        });
        pieces.collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::io::Write;

    use super::*;

    const TIME: &str = "2026-08-01T00:00:00.000000000Z";

    #[tokio::test]
    async fn log_end_gives_bytes_written_later_over_segments() {
        let at = tempfile::tempdir().unwrap();
        let directory = Directory::new(at.path());
        std::fs::create_dir(directory.logs()).unwrap();
        let mut file = File::create(segment(&directory.logs(), 1)).unwrap();
        writeln!(file, "{TIME} o F before").unwrap();
        let end = LogEnd::open(&directory).unwrap();
        write!(file, "{TIME} o P more> \n{TIME} e F err\n{TIME} o").unwrap();
        let (end, read) = end.read();
        let piece = |stream, bytes: &'static str| (stream, Bytes::from(bytes));
        assert_eq!(read.unwrap(), [piece(StdStream::Stdout, "more> "), piece(StdStream::Stderr, "err\n")]);
        writeln!(file, " F half").unwrap();
        std::fs::write(segment(&directory.logs(), 2), format!("{TIME} o F next\n")).unwrap();
        let (end, read) = end.read();
        assert_eq!(read.unwrap(), [piece(StdStream::Stdout, "half\n")]);
        let (end, read) = end.read();
        assert_eq!(read.unwrap(), [piece(StdStream::Stdout, "next\n")]);
        assert_eq!(end.read().1.unwrap(), []);
    }
}
