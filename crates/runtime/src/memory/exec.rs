//! Processes inside instances.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::io::AsyncWrite;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tokio_util::sync::PollSender;

use super::Memory;
use super::instance::{Input as Stdin, Instance};
use super::lifecycle::view_of;
use super::process::Run;
use super::shell::{self, Input, Setup, Sink};
use crate::{
    AttachRequest, Error, ErrorKind, Exec, ExecRequest, InstanceId, OpContext, OutputStream, Result, Session, State,
    StdStream, TerminalSize,
};

/// Room in a pipe.
const PIPE: usize = 64 * 1024;

#[async_trait]
impl Exec for Memory {
    async fn exec(&self, cx: &OpContext, id: &InstanceId, request: &ExecRequest) -> Result<Session> {
        self.engine.answer(cx, "exec", async { exec(self, id, request) }).await
    }

    async fn attach(&self, cx: &OpContext, id: &InstanceId, request: &AttachRequest) -> Result<Session> {
        self.engine.answer(cx, "attach", async { attach(self, id, *request) }).await
    }
}

fn running(instance: &Instance, operation: &'static str) -> Result<Arc<Run>> {
    match (&instance.run, instance.state()) {
        (Some(run), State::Running | State::Stopping) => Ok(Arc::clone(run)),
        (_, State::Paused) => {
            Err(Error::new(ErrorKind::Conflict, operation, format!("instance `{}` is paused", instance.name)))
        }
        _ => Err(Error::new(ErrorKind::Conflict, operation, format!("instance `{}` does not run", instance.name))),
    }
}

/// The ends of a session that its process holds.
struct Ends {
    stdin: Input,
    stdout: Sink,
    stderr: Sink,
    exit: oneshot::Sender<i32>,
}

fn exec(memory: &Memory, id: &InstanceId, request: &ExecRequest) -> Result<Session> {
    let mut world = memory.engine.world();
    let instance = world.find("exec", id)?;
    let run = running(instance, "exec")?;
    let id = instance.id.clone();
    let view = view_of(&mut world, "exec", &id)?;
    let instance = world.find("exec", &id)?;
    let wanted = request.user.clone().or_else(|| instance.user());
    let user = shell::find_user(&view, wanted.as_deref())
        .map_err(|name| Error::new(ErrorKind::Invalid, "exec", format!("no user or group `{name}` in the image")))?;
    let mut env = instance.env();
    env.extend(request.env.clone());
    let (session, ends) = session(request, &run);
    let (pid, mailbox) = run.enter();
    let workdir = request.workdir.clone().or_else(|| instance.workdir()).unwrap_or_default();
    let setup = Setup {
        arguments: request.command.clone(),
        env,
        workdir: workdir.trim_end_matches('/').to_owned(),
        user,
        hostname: instance.plan.hostname.clone(),
        view,
        run,
        pid,
        mailbox,
        terminal: request.tty,
        stdin: ends.stdin,
        stdout: ends.stdout,
        stderr: ends.stderr,
    };
    let exit = ends.exit;
    tokio::spawn(async move {
        // Nobody waits for the code of a session that was dropped.
        let _ = exit.send(shell::execute(setup).await);
    });
    Ok(session)
}

fn session(request: &ExecRequest, run: &Arc<Run>) -> (Session, Ends) {
    let (sender, receiver) = mpsc::channel(16);
    let sink = |stream| Sink::Session { sender: sender.clone(), stream, terminal: request.tty };
    let stderr = if request.tty { StdStream::Stdout } else { StdStream::Stderr };
    let (writer, reader) = tokio::io::duplex(PIPE);
    let (exit, ended) = oneshot::channel();
    let ends = Ends {
        stdin: if request.stdin { Input::new(reader) } else { Input::empty() },
        stdout: sink(StdStream::Stdout),
        stderr: sink(stderr),
        exit,
    };
    let session = Session {
        stdin: request.stdin.then(|| Box::pin(writer) as Pin<Box<dyn AsyncWrite + Send>>),
        output: ReceiverStream::new(receiver).boxed(),
        resize: request.tty.then(|| resizer(run, request.size)),
        exit: async move { ended.await.map_err(|_| lost("exec")) }.boxed(),
    };
    (session, ends)
}

fn lost(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, operation, "the process was lost")
}

fn resizer(run: &Arc<Run>, first: Option<TerminalSize>) -> mpsc::Sender<TerminalSize> {
    let (sender, mut sizes) = mpsc::channel(4);
    let run = Arc::clone(run);
    if let Some(size) = first {
        run.terminal.send_replace(size);
    }
    tokio::spawn(async move {
        while let Some(size) = sizes.recv().await {
            run.terminal.send_replace(size);
        }
    });
    sender
}

fn attach(memory: &Memory, id: &InstanceId, request: AttachRequest) -> Result<Session> {
    let world = memory.engine.world();
    let instance = world.find("attach", id)?;
    let run = running(instance, "attach")?;
    let stdin = instance.stdin.clone().filter(|_| request.stdin);
    let output: OutputStream = UnboundedReceiverStream::new(instance.console.listen()).map(Ok).boxed();
    let resize = instance.plan.tty.then(|| resizer(&run, None));
    drop(world);
    let engine = Arc::clone(&memory.engine);
    let id = id.clone();
    let exit = async move {
        run.ended.cancelled().await;
        let exit = engine.world().find("attach", &id)?.exit.clone();
        exit.map(|exit| exit.code).ok_or_else(|| lost("attach"))
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
