//! Processes inside instances.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use hythe_runtime::plan::check_workdir;
use hythe_runtime::{
    AttachRequest, Error, ErrorKind, Exec, ExecRequest, InstanceRef, OpContext, Result, Session, State, StdStream,
    TerminalSize,
};
use tokio::io::AsyncWrite;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use crate::error::{not_running, process_lost};
use crate::instance::Instance;
use crate::mounts::view_of;
use crate::process::{KILL, Mailbox, Run};
use crate::shell::{self, Input, Setup, Sink};
use crate::{Memory, attach};

/// Room in a pipe.
const PIPE: usize = 64 * 1024;

#[async_trait]
impl Exec for Memory {
    async fn exec(&self, cx: &OpContext, instance: &InstanceRef, request: &ExecRequest) -> Result<Session> {
        self.engine.answer(cx, "exec", async { exec(self, instance, request) }).await
    }

    async fn attach(&self, cx: &OpContext, instance: &InstanceRef, request: &AttachRequest) -> Result<Session> {
        self.engine.answer(cx, "attach", async { attach::attach(self, instance, *request) }).await
    }
}

pub(crate) fn running(instance: &Instance, operation: &'static str) -> Result<Arc<Run>> {
    match (&instance.run, instance.state()) {
        (Some(run), State::Running | State::Stopping) => Ok(Arc::clone(run)),
        (_, State::Paused) => {
            Err(Error::new(ErrorKind::Conflict, operation, format!("instance `{}` is paused", instance.name)))
        }
        _ => Err(not_running(operation, instance)),
    }
}

/// The ends of a session that its process holds.
struct Ends {
    stdin: Input,
    stdout: Sink,
    stderr: Sink,
    exit: oneshot::Sender<i32>,
}

fn exec(memory: &Memory, instance: &InstanceRef, request: &ExecRequest) -> Result<Session> {
    request.workdir.as_deref().map_or(Ok(()), |path| check_workdir("exec", path))?;
    let mut world = memory.engine.world();
    let instance = world.find("exec", instance)?;
    let run = running(instance, "exec")?;
    let id = instance.id.clone();
    let view = view_of(&mut world, "exec", &id)?;
    let instance = world.get("exec", &id)?;
    let wanted = request.user.clone().or_else(|| instance.user());
    let user = shell::find_user(&view, wanted.as_deref())
        .map_err(|name| Error::new(ErrorKind::Invalid, "exec", format!("no user or group `{name}` in the image")))?;
    let mut env = instance.env();
    env.extend(request.env.clone());
    let (mut session, ends) = session(request, &run);
    let (pid, mailbox) = run.enter();
    if let Some(timeout) = request.timeout {
        session.exit = limited(session.exit, Arc::clone(&mailbox), timeout);
    }
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
        exit: async move { ended.await.map_err(|_| process_lost("exec")) }.boxed(),
    };
    (session, ends)
}

/// Ends the process when its time is over, also where nobody has its session any more.
fn limited(
    exit: BoxFuture<'static, Result<i32>>,
    process: Arc<Mailbox>,
    timeout: Duration,
) -> BoxFuture<'static, Result<i32>> {
    let end = tokio::time::Instant::now() + timeout;
    tokio::spawn(async move {
        tokio::time::sleep_until(end).await;
        process.deliver(KILL);
    });
    let killed =
        move |code| if code == 137 && tokio::time::Instant::now() >= end { Err(overdue(timeout)) } else { Ok(code) };
    async move { exit.await.and_then(killed) }.boxed()
}

fn overdue(timeout: Duration) -> Error {
    Error::new(ErrorKind::Timeout, "exec", format!("the process was killed after {} ms", timeout.as_millis()))
}

pub(crate) fn resizer(run: &Arc<Run>, first: Option<TerminalSize>) -> mpsc::Sender<TerminalSize> {
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
