//! Files of instances as tar streams.
//!
//! Names in an archive are relative: a directory is `./` and what is below it `a/b`; anything else is one entry of its
//! own name. Owners, modes, times, hard and symbolic links are kept; sockets and device nodes are left out.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::context::run_blocking;
use crate::{Error, ErrorKind, InstanceRef, OpContext, Result};

/// An engine that neither gives nor takes a byte for so long does not answer.
pub const SILENCE: Duration = Duration::from_secs(120);
/// Pieces on their way between a thread and a task.
const IN_FLIGHT: usize = 4;
const PIECE: usize = 64 << 10;

/// Bytes of an archive; dropping it ends the reading.
pub type ArchiveStream = BoxStream<'static, Result<Bytes>>;

/// An archive to be written, which is taken once. One that ends with an error is not complete, and the writing fails with it.
pub struct ArchiveInput(Mutex<Option<ArchiveStream>>);

impl ArchiveInput {
    /// Of a stream.
    pub fn new(stream: ArchiveStream) -> Self {
        Self(Mutex::new(Some(stream)))
    }

    /// The stream.
    ///
    /// # Errors
    /// `Internal` where it was taken before.
    pub fn take(&self, operation: &'static str) -> Result<ArchiveStream> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.ok_or_else(|| Error::new(ErrorKind::Internal, operation, "the archive was read already"))
    }
}

impl fmt::Debug for ArchiveInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveInput").finish_non_exhaustive()
    }
}

/// What kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// Regular.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// A pipe, socket or device.
    Other,
}

/// What is at a path of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// What kind of file.
    pub kind: FileKind,
    /// Size in bytes, as the file system has it.
    pub size: u64,
    /// The lowest twelve bits of the mode.
    pub mode: u32,
    /// Where a symbolic link leads to.
    pub target: Option<String>,
    /// What is read from there has the owners that files have in the instance; else every file is root's.
    pub owners: bool,
}

/// Files of instances, running or not, with the volumes and binds that are mounted in them.
///
/// Paths are absolute and resolved as in the instance, never outside of it. A symbolic link at the end of a path is not
/// followed unless a slash is behind it, and then what is no directory is `Invalid`. Absent, instance or file: `NotFound`. What the kernel shows as files (`/proc`,
/// `/sys`): `Invalid`.
#[async_trait]
pub trait Archives: Send + Sync {
    /// What is at a path.
    async fn look(&self, cx: &OpContext, instance: &InstanceRef, path: &str) -> Result<FileInfo>;

    /// Reads a file or directory. A running instance goes on meanwhile: files are as they were at different times, and
    /// what vanishes is left out. An error after the first byte is an item of the stream; one that ends without is complete.
    async fn read(&self, cx: &OpContext, instance: &InstanceRef, path: &str) -> Result<ArchiveStream>;

    /// Extracts an archive over an existing directory, whose own owner and mode stay. Files and links are replaced; a
    /// directory and something else never replace each other, and nothing is written to a read-only mount: `Conflict`.
    /// An archive that is damaged, or has a name with `..`: `Invalid`. No space: `Exhausted`. On an error and on
    /// cancellation, what was extracted until then stays; nothing else changes.
    async fn write(
        &self,
        cx: &OpContext,
        instance: &InstanceRef,
        directory: &str,
        archive: &ArchiveInput,
    ) -> Result<()>;
}

/// Refuses a path that is not absolute, or has a zero byte.
///
/// # Errors
/// `Invalid`.
pub fn check_path(operation: &'static str, path: &str) -> Result<()> {
    let wrong = |why| Err(Error::new(ErrorKind::Invalid, operation, format!("`{}` {why}", path.escape_debug())));
    match path {
        _ if path.contains('\0') => wrong("has a zero byte"),
        _ if !path.starts_with('/') => wrong("is not an absolute path"),
        _ => Ok(()),
    }
}

/// Runs what writes an archive on a thread of its own. The stream is given once there is a first byte, or an error.
///
/// # Errors
/// Those of the work before it wrote anything.
pub async fn from_thread(
    operation: &'static str,
    work: impl FnOnce(PieceWriter) -> Result<()> + Send + 'static,
) -> Result<ArchiveStream> {
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    let writer = PieceWriter { sender, piece: Vec::with_capacity(PIECE) };
    let work = run_blocking(operation, move || work(writer));
    let pieces = stream::unfold(receiver, |mut pieces| async move { Some((Ok(pieces.recv().await?), pieces)) });
    let outcome = tokio::spawn(work).map(move |done| match done {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(Err(error)),
        Err(lost) => Some(Err(Error::new(ErrorKind::Internal, operation, "the reading died").source(lost))),
    });
    let whole = pieces.chain(stream::once(outcome).filter_map(std::future::ready)).boxed();
    opened(whole).await
}

/// A stream whose first item is no error.
///
/// # Errors
/// The first item's.
pub async fn opened(mut stream: ArchiveStream) -> Result<ArchiveStream> {
    match stream.next().await {
        None => Ok(stream::empty().boxed()),
        Some(first) => Ok(stream::iter([Ok(first?)]).chain(stream).boxed()),
    }
}

/// A stream that fails where nothing comes for [`SILENCE`].
pub fn not_silent(operation: &'static str, stream: ArchiveStream) -> ArchiveStream {
    let silent = move |_| {
        let message = format!("the engine was silent for {} s", SILENCE.as_secs());
        Some(Err(Error::new(ErrorKind::Timeout, operation, message)))
    };
    stream::unfold(Some(stream), move |stream| async move {
        let mut stream = stream?;
        let item = tokio::time::timeout(SILENCE, stream.next()).await.unwrap_or_else(silent)?;
        let rest = item.is_ok().then_some(stream);
        Some((item, rest))
    })
    .boxed()
}

/// Writes to a stream from a thread; an error where nobody reads it any more.
#[derive(Debug)]
pub struct PieceWriter {
    sender: mpsc::Sender<Bytes>,
    piece: Vec<u8>,
}

impl io::Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..length]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads the archive any more");
        self.sender.blocking_send(piece.into()).map_err(gone)
    }
}

/// Reads a stream from a thread. The error with which it ended is kept for whoever asks.
#[derive(Debug)]
pub struct PieceReader {
    pieces: mpsc::Receiver<Option<Bytes>>,
    piece: Bytes,
    is_complete: bool,
    failed: Failure,
}

/// The error with which a stream ended, for whoever reads it on a thread.
#[derive(Debug, Clone, Default)]
pub struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    /// The error, once.
    pub fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn message(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|error| error.message().to_owned())
    }
}

impl PieceReader {
    /// Of a stream, which is read as fast as the reader is. Where the task that is given ends early, so does the reader, with an error.
    pub fn new(archive: ArchiveStream) -> (Self, AbortOnDropHandle<()>) {
        let (sender, pieces) = mpsc::channel(IN_FLIGHT);
        let failed = Failure::default();
        let feeding = AbortOnDropHandle::new(tokio::spawn(feed(archive, sender, failed.clone())));
        (Self { pieces, piece: Bytes::new(), is_complete: false, failed }, feeding)
    }

    /// Why its stream ended early, once it has.
    pub fn failure(&self) -> Failure {
        self.failed.clone()
    }
}

/// `None` says that the archive is complete; a channel that closes without it says that it is not.
async fn feed(mut archive: ArchiveStream, pieces: mpsc::Sender<Option<Bytes>>, failed: Failure) {
    loop {
        let next = tokio::select! {
            next = archive.next() => next,
            () = pieces.closed() => return,
        };
        let piece = match next {
            Some(Ok(piece)) => Some(piece),
            Some(Err(error)) => {
                failed.set(error);
                return;
            }
            None => None,
        };
        let is_last = piece.is_none();
        // A reader that needs no more is done.
        if pieces.send(piece).await.is_err() || is_last {
            return;
        }
    }
}

impl io::Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.is_complete {
            match self.pieces.blocking_recv() {
                Some(Some(piece)) => self.piece = piece,
                Some(None) => self.is_complete = true,
                None => {
                    let why = self.failed.message().unwrap_or_else(|| "the rest does not come".to_owned());
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
                }
            }
        }
        let length = buffer.len().min(self.piece.len());
        buffer[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}

/// Runs what reads an archive on a thread of its own, and gives it the stream. Where nobody waits any more, the stream ends
/// with an error.
///
/// # Errors
/// The stream's where it has one, else those of the work.
pub async fn to_thread<T: Send + 'static>(
    operation: &'static str,
    archive: ArchiveStream,
    work: impl FnOnce(PieceReader) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (reader, _feeding) = PieceReader::new(archive);
    let failure = reader.failure();
    let done = run_blocking(operation, move || work(reader)).await;
    match (done, failure.take()) {
        (Err(_), Some(error)) => Err(error),
        (done, _) => done,
    }
}
