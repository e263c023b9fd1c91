//! The named pipes of a process beside the main one. containerd's shim holds them open at both ends until the process is deleted.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use hythe_local::IoContext;
use hythe_runtime::{Result, StdStream};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::OPERATION;
use super::ended::Ended;

const PIECE: usize = 64 << 10;
/// What a process has written comes a little after its end.
const LATE: Duration = Duration::from_millis(100);

/// Pieces of output.
pub(super) type Pieces = mpsc::Sender<Result<(StdStream, Bytes)>>;

/// The names of pipes, removed with the value.
pub(super) struct Pipes {
    stem: PathBuf,
    made: Vec<PathBuf>,
}

impl Drop for Pipes {
    fn drop(&mut self) {
        for path in &self.made {
            // The next start of the instance removes what is left of them.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Pipes {
    /// Below a directory, which is made.
    pub(super) fn new(directory: &Path, id: &str) -> Result<Self> {
        let what = || format!("make `{}`", directory.display());
        std::fs::create_dir_all(directory).context(OPERATION, what())?;
        Ok(Self { stem: directory.join(id), made: Vec::new() })
    }

    fn make(&mut self, name: &str) -> Result<PathBuf> {
        let path = self.stem.with_extension(name);
        make_pipe(OPERATION, &path)?;
        self.made.push(path.clone());
        Ok(path)
    }

    pub(super) fn input(&mut self) -> Result<(String, pipe::Sender)> {
        let path = self.make("in")?;
        let opened = open_input(&path).context(OPERATION, format_args!("open `{}`", path.display()))?;
        Ok((path.to_string_lossy().into_owned(), opened))
    }

    pub(super) fn output(&mut self, stream: StdStream, to: Pieces) -> Result<(String, Output)> {
        let path = self.make(if stream == StdStream::Stdout { "out" } else { "err" })?;
        let opened = pipe::OpenOptions::new().open_receiver(&path);
        let pipe = opened.context(OPERATION, format_args!("open `{}`", path.display()))?;
        Ok((path.to_string_lossy().into_owned(), Output { stream, pipe, to }))
    }
}

/// Makes a named pipe, or finds it made.
pub(crate) fn make_pipe(operation: &'static str, path: &Path) -> Result<()> {
    match mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(io::Error::from(error)).context(operation, format_args!("make `{}`", path.display())),
    }
}

/// Opens a pipe for writing, at both ends: the other side may not have opened it yet.
pub(crate) fn open_input(path: &Path) -> io::Result<pipe::Sender> {
    pipe::OpenOptions::new().read_write(true).open_sender(path)
}

/// One stream on its way to a session.
pub(super) struct Output {
    stream: StdStream,
    pipe: pipe::Receiver,
    to: Pieces,
}

impl Output {
    /// Hands on what comes, until the pipe is closed (`true`), or until nothing more comes after something has ended.
    pub(super) async fn hand_on(&mut self, ended: &(impl Future + Clone)) -> bool {
        loop {
            let mut bytes = BytesMut::with_capacity(PIECE);
            let quiet = async {
                ended.clone().await;
                tokio::time::sleep(LATE).await;
            };
            let read = tokio::select! {
                biased;
                read = self.pipe.read_buf(&mut bytes) => read,
                () = quiet => return false,
            };
            let is_over = !matches!(read, Ok(length) if length > 0);
            let piece = read.context(OPERATION, "read the output").map(|_| (self.stream, bytes.freeze()));
            if piece.as_ref().map_or(true, |(_, bytes)| !bytes.is_empty()) {
                // A process whose session is gone goes on, and its output is lost.
                let _ = self.to.send(piece).await;
            }
            if is_over {
                return true;
            }
        }
    }
}

/// What is done once the end of a stdin was asked for, and once it is dropped.
pub(crate) trait OnClose: Send {
    fn shut_down(&mut self);
    fn dropped(&mut self);
}

/// Bytes for a process. No end of the pipe tells that the process has ended, so its end does.
pub(crate) struct Stdin<C: OnClose> {
    pipe: Option<pipe::Sender>,
    ended: Ended,
    on_close: C,
}

impl<C: OnClose> Stdin<C> {
    pub(crate) fn new(pipe: pipe::Sender, ended: Ended, on_close: C) -> Self {
        Self { pipe: Some(pipe), ended, on_close }
    }
}

impl<C: OnClose> Drop for Stdin<C> {
    fn drop(&mut self) {
        if self.pipe.take().is_some() {
            self.on_close.dropped();
        }
    }
}

impl<C: OnClose + Unpin> AsyncWrite for Stdin<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let Some(pipe) = &mut this.pipe else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        if this.ended.poll_unpin(cx).is_ready() {
            // A future that is done must not be polled again.
            this.pipe = None;
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(pipe).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        if self.pipe.take().is_some() {
            self.on_close.shut_down();
        }
        Poll::Ready(Ok(()))
    }
}
