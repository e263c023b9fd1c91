//! Sessions with the main process of an instance.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use hythe_runtime::{AttachRequest, EndedInputs, InstanceRef, OutputStream, Result, Session};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::PollSender;

use crate::Memory;
use crate::error::process_lost;
use crate::exec::{resizer, running};
use crate::instance::Input as Stdin;

pub(crate) fn attach(memory: &Memory, instance: &InstanceRef, request: AttachRequest) -> Result<Session> {
    let world = memory.engine.world();
    let instance = world.find("attach", instance)?;
    let run = running(instance, "attach")?;
    let id = instance.id.clone();
    let stdin = instance.stdin.clone().filter(|_| request.stdin);
    if stdin.as_ref().is_some_and(mpsc::Sender::is_closed) {
        return Err(EndedInputs::refusal(&instance.name));
    }
    let output: OutputStream = UnboundedReceiverStream::new(instance.console.listen()).map(Ok).boxed();
    let resize = instance.plan.tty.then(|| resizer(&run, request.size));
    drop(world);
    let engine = Arc::clone(&memory.engine);
    let exit = async move {
        run.ended.cancelled().await;
        let exit = engine.world().get("attach", &id)?.exit.clone();
        exit.and_then(|exit| exit.code).ok_or_else(|| process_lost("attach"))
    };
    let stdin = stdin.map(|sender| Box::pin(MainStdin(PollSender::new(sender))) as Pin<Box<dyn AsyncWrite + Send>>);
    Ok(Session { stdin, output, resize, exit: exit.boxed() })
}

/// Writes to a main process; only a shutdown is its end of file, a drop is not.
struct MainStdin(PollSender<Stdin>);

fn closed() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl AsyncWrite for MainStdin {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(self.0.poll_reserve(cx)).map_err(|_| closed())?;
        self.0.send_item(Some(Bytes::copy_from_slice(bytes))).map_err(|_| closed())?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.0.poll_reserve(cx)).map_err(|_| closed())?;
        self.0.send_item(None).map_err(|_| closed())?;
        Poll::Ready(Ok(()))
    }
}
