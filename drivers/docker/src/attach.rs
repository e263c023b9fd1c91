//! The main process's own streams.
//!
//! An engine cannot tell a session that is dropped from one whose stdin ended: both look like the end of stdin, and would end a process
//! that reads it. A dropped session's connection is therefore kept open, its output thrown away, until the process ends.

use std::io;
use std::pin::Pin;
use std::task::{self, Poll};

use bytes::Bytes;
use futures_util::StreamExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hythe_runtime::{AttachRequest, Error, ErrorKind, InstanceRef, OutputStream, Result, Session};
use tokio::io::{AsyncWrite, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::ReaderStream;

use crate::api_types::Container;
use crate::client::segment;
use crate::context::Context;
use crate::error::translate;
use crate::exec::{CHUNK, NO_DETACH};
use crate::stdcopy::frames;

const OPERATION: &str = "attach";
const FRAMES_AHEAD: usize = 16;

type Input = WriteHalf<TokioIo<Upgraded>>;
/// Called once the input was ended.
type Told = Box<dyn FnOnce() + Send>;

impl Context {
    pub(crate) async fn open_attach(&self, instance: &InstanceRef, request: AttachRequest) -> Result<Session> {
        let container = self.container(OPERATION, instance).await?;
        check(&container, instance, request)?;
        let run = container.state.started_at.clone();
        if request.stdin {
            self.ended_inputs.check(&container.id, &run)?;
        }
        let (tty, path) = (container.config.tty, format!("/containers/{}", segment(&container.id)));
        let stdin = if request.stdin { "1" } else { "0" };
        let query = [("stream", "1"), ("stdin", stdin), ("stdout", "1"), ("stderr", "1"), ("detachKeys", NO_DETACH)];
        let upgraded = self
            .client
            .upgrade(&format!("{path}/attach"), &query, bollard::body_full(Bytes::new()))
            .await
            .map_err(|error| translate(OPERATION, instance.as_str(), error))?;
        let (output, input) = tokio::io::split(TokioIo::new(upgraded));
        let bytes = ReaderStream::with_capacity(output, CHUNK).map(|chunk| chunk.map_err(Into::into)).boxed();
        let output = frames(OPERATION, bytes, tty).boxed();
        let (stdin, output) = if request.stdin {
            let (ended, id) = (self.ended_inputs.clone(), container.id.clone());
            let (stdin, output) = held(input, output, Box::new(move || ended.note(&id, &run)));
            (Some(stdin), output)
        } else {
            (None, output)
        };
        if let Some(size) = request.size.filter(|_| tty) {
            // A terminal that is gone needs no size.
            let _ = self.size(&path, size).await;
        }
        let resize = tty.then(|| self.resizer(path));
        let (context, id) = (self.clone(), container.id);
        let exit = Box::pin(async move {
            context.gone(&id).await?;
            Ok(context.container(OPERATION, &InstanceRef::id(id)).await?.state.exit_code)
        });
        Ok(Session { stdin, output, resize, exit })
    }
}

fn check(container: &Container, instance: &InstanceRef, request: AttachRequest) -> Result<()> {
    if container.state.status != "running" {
        return Err(Error::new(
            ErrorKind::Conflict,
            OPERATION,
            format!("`{instance}` is {}, not running", container.state.status),
        ));
    }
    if request.stdin && !container.config.open_stdin {
        return Err(Error::new(ErrorKind::Conflict, OPERATION, format!("the stdin of `{instance}` was not kept open"))
            .hint("set `stdin = true`"));
    }
    Ok(())
}

/// A stdin whose drop is no end of file, and the output that goes with it.
fn held(input: Input, output: OutputStream, ended: Told) -> (Pin<Box<dyn AsyncWrite + Send>>, OutputStream) {
    let (sender, receiver) = mpsc::channel(FRAMES_AHEAD);
    let (keep, kept) = oneshot::channel();
    tokio::spawn(pump(output, sender, kept));
    (
        Box::pin(Stdin { input: Some(input), keep: Some(keep), ended: Some(ended) }),
        ReceiverStream::new(receiver).boxed(),
    )
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
    ended: Option<Told>,
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
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.input()?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        self.input()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        let done = self.input()?.poll_shutdown(cx);
        if done.is_ready() {
            self.keep = None;
            if let Some(ended) = self.ended.take() {
                ended();
            }
        }
        done
    }
}
