//! Sessions over a connection to a supervisor: output, stdin and sizes are frames.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hythe_runtime::{Error, ErrorKind, Result, Session, StdStream, TerminalSize};
use hythe_shim::protocol::{self, Size, frame, kind};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::shim_client;

/// Frames that wait to be read by who attached.
const WAITS: usize = 64;

/// A session whose process the connection is for. `terminal`: where it has one, the size to give that.
pub fn attached(
    operation: &'static str,
    connection: UnixStream,
    with_stdin: bool,
    terminal: Option<Option<TerminalSize>>,
) -> Session {
    let (mut reading, writing) = connection.into_split();
    let (output, pieces) = mpsc::channel::<Result<(StdStream, Bytes)>>(WAITS);
    let (told, end) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                next = shim_client::next_frame(&mut reading) => next,
                // Nobody reads any more: the connection goes.
                () = output.closed() => return,
            };
            let Some((what, content)) = next else { return };
            let stream = match what {
                kind::STDOUT => StdStream::Stdout,
                kind::STDERR => StdStream::Stderr,
                _ => {
                    // Nobody may want to know.
                    let _ = told.send(serde_json::from_slice::<hythe_shim::record::ExitStatus>(&content).ok());
                    return;
                }
            };
            if output.send(Ok((stream, content.into()))).await.is_err() {
                return;
            }
        }
    });
    let exit = async move {
        let end = end.await.ok().flatten();
        let lost = || Error::new(ErrorKind::Unavailable, operation, "the supervisor died before the process ended");
        let end = end.ok_or_else(lost)?;
        // Only of a process beside the main one that was killed for its time it is told why.
        match end.error.filter(|_| operation == "exec") {
            Some(why) => {
                Err(Error::new(ErrorKind::Timeout, operation, format!("the process did not end in time: {why}")))
            }
            None => Ok(end.code),
        }
    };
    let (commands, mut queue) = mpsc::channel::<Vec<u8>>(4);
    tokio::spawn(async move {
        let mut writing = writing;
        while let Some(frame) = queue.recv().await {
            if writing.write_all(&frame).await.is_err() {
                return;
            }
        }
        // Dropping a session leaves the process alone: the connection is kept open by its reader alone.
        writing.forget();
    });
    if let Some(framed) = terminal.flatten().and_then(size_frame) {
        // The queue is new, so there is room; what is typed comes after it.
        let _ = commands.try_send(framed);
    }
    let resize = terminal.map(|_| sizes(commands.clone()));
    let stdin = with_stdin.then(|| stdin_of(commands));
    let output = tokio_stream::wrappers::ReceiverStream::new(pieces).boxed();
    Session { stdin, output, resize, exit: Box::pin(exit) }
}

fn size_frame(size: TerminalSize) -> Option<Vec<u8>> {
    protocol::frame_json(kind::SIZE, &Size { columns: size.columns, rows: size.rows }).ok()
}

fn sizes(commands: mpsc::Sender<Vec<u8>>) -> mpsc::Sender<TerminalSize> {
    let (sender, mut sizes) = mpsc::channel::<TerminalSize>(4);
    tokio::spawn(async move {
        while let Some(size) = sizes.recv().await {
            let Some(framed) = size_frame(size) else { continue };
            if commands.send(framed).await.is_err() {
                return;
            }
        }
    });
    sender
}

/// Bytes for the main process. Shutting it down is its end of file; dropping it is nothing.
struct Stdin {
    bytes: tokio::io::DuplexStream,
    ended: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl AsyncWrite for Stdin {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.bytes).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended.store(true, std::sync::atomic::Ordering::Release);
        Pin::new(&mut self.bytes).poll_shutdown(cx)
    }
}

fn stdin_of(commands: mpsc::Sender<Vec<u8>>) -> Pin<Box<dyn AsyncWrite + Send>> {
    let (ours, mut theirs) = tokio::io::duplex(64 << 10);
    let stdin = Stdin { bytes: ours, ended: std::sync::Arc::default() };
    let ended = std::sync::Arc::clone(&stdin.ended);
    tokio::spawn(async move {
        use tokio::io::AsyncReadExt;
        let mut bytes = vec![0; 32 << 10];
        while let Ok(length) = theirs.read(&mut bytes).await {
            let framed = match length {
                0 if ended.load(std::sync::atomic::Ordering::Acquire) => frame(kind::STDIN_END, b""),
                0 => return,
                length => frame(kind::STDIN, &bytes[..length]),
            };
            if commands.send(framed).await.is_err() || length == 0 {
                return;
            }
        }
    });
    Box::pin(stdin)
}

/// A program that could not be executed ends as a shell would tell it, with the reason on its stderr.
pub fn never_ran(code: i32, reason: &str) -> Session {
    let exit = Box::pin(std::future::ready(Ok(code)));
    let told = Ok((StdStream::Stderr, Bytes::from(format!("{reason}\n"))));
    Session { stdin: Some(Box::pin(tokio::io::sink())), output: stream::iter([told]).boxed(), resize: None, exit }
}
