//! What an executed process writes, up to its end: what it left in the background may hold its streams open for long.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::{BoxFuture, Shared};
use futures_util::{FutureExt, StreamExt, stream};
use hythe_runtime::{Error, ErrorKind, OutputStream, Result, StdStream};
use hythe_shim::record::ExitStatus;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

use crate::client;
use crate::error::IoContext;

const PIECE: usize = 64 << 10;
/// A terminal hands on what was written to it a little later.
const LATE: Duration = Duration::from_millis(50);

/// Resolves with the process's end; `None`: its supervisor died before.
pub(super) type Ended = Shared<BoxFuture<'static, Option<ExitStatus>>>;

/// The end that a connection will tell.
pub(super) fn ended(mut connection: UnixStream) -> Ended {
    async move { client::end(&mut connection).await }.boxed().shared()
}

/// The exit code of a session.
pub(super) fn exit(ended: Ended) -> BoxFuture<'static, Result<i32>> {
    let code = |end: Option<ExitStatus>| {
        let lost = || Error::new(ErrorKind::Unavailable, "exec", "the supervisor died before the process ended");
        let end = end.ok_or_else(lost)?;
        // Only of one that was killed for its time it is told why.
        match end.error {
            Some(why) => Err(Error::new(ErrorKind::Timeout, "exec", format!("the process did not end in time: {why}"))),
            None => Ok(end.code),
        }
    };
    ended.map(code).boxed()
}

enum Reading<R> {
    Running(R, Ended),
    /// So many bytes are left of it.
    Ended(R, usize),
    Over,
}

/// What comes through a pipe, and after the end what is in it by then.
pub(super) fn of_pipe(name: StdStream, pipe: pipe::Receiver, ended: Ended) -> OutputStream {
    let pieces = stream::try_unfold(Reading::Running(pipe, ended), |mut reading| async move {
        loop {
            reading = match reading {
                Reading::Running(mut pipe, mut ended) => {
                    let mut bytes = BytesMut::with_capacity(PIECE);
                    tokio::select! {
                        biased;
                        read = pipe.read_buf(&mut bytes) => match read? {
                            0 => return Ok(None),
                            _ => return Ok(Some((bytes.freeze(), Reading::Running(pipe, ended)))),
                        },
                        _ = &mut ended => {
                            let left = rustix::io::ioctl_fionread(&pipe)?;
                            Reading::Ended(pipe, usize::try_from(left).unwrap_or(usize::MAX))
                        }
                    }
                }
                Reading::Ended(pipe, left) if left > 0 => {
                    let mut bytes = vec![0; left.min(PIECE)];
                    // Not by tokio, which may not have heard of the last bytes yet.
                    match rustix::io::read(pipe.as_fd(), &mut bytes) {
                        Ok(length) if length > 0 => {
                            bytes.truncate(length);
                            return Ok(Some((Bytes::from(bytes), Reading::Ended(pipe, left - length))));
                        }
                        Err(rustix::io::Errno::INTR) => Reading::Ended(pipe, left),
                        Ok(_) | Err(rustix::io::Errno::AGAIN) => Reading::Over,
                        Err(error) => return Err(io::Error::from(error)),
                    }
                }
                Reading::Ended(..) | Reading::Over => return Ok(None),
            };
        }
    });
    named(name, pieces)
}

/// What comes from a terminal, and after the end what comes without a pause, up to what one holds.
pub(super) fn of_terminal(terminal: Terminal, ended: Ended) -> OutputStream {
    let pieces = stream::try_unfold(Reading::Running(terminal, ended), |mut reading| async move {
        loop {
            let mut bytes = BytesMut::with_capacity(PIECE);
            reading = match reading {
                Reading::Running(mut terminal, mut ended) => tokio::select! {
                    biased;
                    read = terminal.read_buf(&mut bytes) => match read? {
                        0 => return Ok(None),
                        _ => return Ok(Some((bytes.freeze(), Reading::Running(terminal, ended)))),
                    },
                    _ = &mut ended => Reading::Ended(terminal, PIECE),
                },
                Reading::Ended(mut terminal, left) => {
                    match tokio::time::timeout(LATE, terminal.read_buf(&mut bytes)).await {
                        Ok(Ok(length)) if length > 0 => {
                            let left = left.saturating_sub(bytes.len());
                            let next = if left == 0 { Reading::Over } else { Reading::Ended(terminal, left) };
                            return Ok(Some((bytes.freeze(), next)));
                        }
                        Ok(Err(error)) => return Err(error),
                        Ok(Ok(_)) | Err(_) => Reading::Over,
                    }
                }
                Reading::Over => return Ok(None),
            };
        }
    });
    named(StdStream::Stdout, pieces)
}

fn named(name: StdStream, pieces: impl stream::Stream<Item = io::Result<Bytes>> + Send + 'static) -> OutputStream {
    let one = move |piece: io::Result<Bytes>| Ok((name, piece.context("exec", "read the output")?));
    pieces.map(one).boxed()
}

/// Our side of a terminal.
pub(super) struct Terminal(pub(super) AsyncFd<File>);

impl AsyncRead for Terminal {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = std::task::ready!(self.0.poll_read_ready(cx))?;
            let room = into.initialize_unfilled();
            match ready.try_io(|terminal| Ok(rustix::io::read(terminal.get_ref(), &mut *room)?)) {
                Ok(Ok(length)) => {
                    into.advance(length);
                    return Poll::Ready(Ok(()));
                }
                // The other side is closed: so ends a terminal.
                Ok(Err(error)) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = std::task::ready!(self.0.poll_write_ready(cx))?;
            if let Ok(outcome) = ready.try_io(|terminal| Ok(rustix::io::write(terminal.get_ref(), bytes)?)) {
                return Poll::Ready(outcome);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
