//! The main process's own streams.
//!
//! An engine cannot tell a session that is dropped from one whose stdin ended: both look like the end of stdin, and would end a process
//! that reads it. A dropped session's connection is therefore kept open, its output thrown away, until the process ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hythe_runtime::{AttachRequest, Error, ErrorKind, InstanceId, OutputStream, Result, Session};
use tokio::io::{AsyncWrite, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::ReaderStream;

use crate::client::segment;
use crate::core::Core;
use crate::error::translate;
use crate::exec::{CHUNK, NO_DETACH};
use crate::frames::frames;
use crate::native::Container;

const OPERATION: &str = "attach";
const FRAMES_AHEAD: usize = 16;

type Input = WriteHalf<TokioIo<Upgraded>>;

impl Core {
    pub(crate) async fn open_attach(&self, id: &InstanceId, request: AttachRequest) -> Result<Session> {
        let container = self.container(OPERATION, &id.0).await?;
        check(&container, id, request)?;
        let (tty, path) = (container.config.tty, format!("/containers/{}", segment(&container.id)));
        let stdin = if request.stdin { "1" } else { "0" };
        let query = [("stream", "1"), ("stdin", stdin), ("stdout", "1"), ("stderr", "1"), ("detachKeys", NO_DETACH)];
        let upgraded = self
            .client
            .upgrade(&format!("{path}/attach"), &query, bollard::body_full(Bytes::new()))
            .await
            .map_err(|error| translate(OPERATION, &id.0, error))?;
        let (output, input) = tokio::io::split(TokioIo::new(upgraded));
        let bytes = ReaderStream::with_capacity(output, CHUNK).map(|chunk| chunk.map_err(Into::into)).boxed();
        let output = frames(OPERATION, bytes, tty).boxed();
        let (stdin, output) = if request.stdin {
            let (stdin, output) = held(input, output);
            (Some(stdin), output)
        } else {
            (None, output)
        };
        let resize = tty.then(|| self.resizer(path));
        let (core, id) = (self.clone(), container.id);
        let exit = Box::pin(async move {
            core.gone(&id).await?;
            Ok(core.container(OPERATION, &id).await?.state.exit_code)
        });
        Ok(Session { stdin, output, resize, exit })
    }
}

fn check(container: &Container, id: &InstanceId, request: AttachRequest) -> Result<()> {
    if container.state.status != "running" {
        return Err(Error::new(
            ErrorKind::Conflict,
            OPERATION,
            format!("`{id}` is {}, not running", container.state.status),
        ));
    }
    if request.stdin && !container.config.open_stdin {
        return Err(Error::new(ErrorKind::Conflict, OPERATION, format!("the stdin of `{id}` was not kept open"))
            .hint("set `stdin = true`"));
    }
    Ok(())
}

/// A stdin whose drop is no end of file, and the output that goes with it.
fn held(input: Input, output: OutputStream) -> (Pin<Box<dyn AsyncWrite + Send>>, OutputStream) {
    let (sender, receiver) = mpsc::channel(FRAMES_AHEAD);
    let (keep, kept) = oneshot::channel();
    tokio::spawn(pump(output, sender, kept));
    (Box::pin(Stdin { input: Some(input), keep: Some(keep) }), ReceiverStream::new(receiver).boxed())
}

/// Hands output on, or throws it away once nobody takes it; ends early only when stdin was ended properly.
async fn pump(
    mut output: OutputStream,
    sender: mpsc::Sender<Result<(hythe_runtime::StdStream, Bytes)>>,
    kept: oneshot::Receiver<Input>,
) {
    let forward = async {
        while let Some(part) = output.next().await {
            // Without a taker it goes nowhere, but the engine must be able to write it.
            let _ = sender.send(part).await;
        }
    };
    let abandoned = async {
        let input = kept.await;
        sender.closed().await;
        if let Ok(input) = input {
            std::future::pending::<()>().await;
            drop(input);
        }
    };
    tokio::select! {
        () = forward => {}
        () = abandoned => {}
    }
}

struct Stdin {
    input: Option<Input>,
    /// Gone once end of file was sent.
    keep: Option<oneshot::Sender<Input>>,
}

impl Stdin {
    fn input(&mut self) -> io::Result<Pin<&mut Input>> {
        self.input.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl Drop for Stdin {
    fn drop(&mut self) {
        if let (Some(input), Some(keep)) = (self.input.take(), self.keep.take()) {
            // Nobody keeps it: the process has ended.
            let _ = keep.send(input);
        }
    }
}

impl AsyncWrite for Stdin {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.input()?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = self.input()?.poll_shutdown(cx);
        if done.is_ready() {
            self.keep = None;
        }
        done
    }
}
