//! Processes beside the main one.

mod output;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{self, Poll};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use hythe_local::attach::never_ran;
use hythe_local::exec::{conflict, described};
use hythe_runtime::plan::check_workdir;
use hythe_runtime::{
    AttachRequest, Error, ErrorKind, Exec, ExecRequest, InstanceRef, OpContext, Result, Session, StdStream,
    TerminalSize,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::AsyncWrite;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use self::output::{Ended, Terminal};
use crate::attach;
use crate::client::{self, Asked};
use crate::context::SharedContext;
use crate::driver::Embedded;
use crate::error::{IoContext, from_shim};
use crate::instances::Record;

pub(crate) async fn running(
    context: &SharedContext,
    operation: &'static str,
    instance: &InstanceRef,
) -> Result<Record> {
    let (context, instance) = (context.clone(), instance.clone());
    let find = move || {
        let record = context.instances.find(operation, &instance)?;
        let state = crate::observe::state(&context, operation, &record)?.state;
        Ok((record, state))
    };
    hythe_local::exec::running(operation, find).await
}

#[async_trait]
impl Exec for Embedded {
    async fn exec(&self, cx: &OpContext, instance: &InstanceRef, request: &ExecRequest) -> Result<Session> {
        cx.with_deadline("exec", exec(&self.context, instance, request)).await
    }

    async fn attach(&self, cx: &OpContext, instance: &InstanceRef, request: &AttachRequest) -> Result<Session> {
        cx.with_deadline("attach", attach::attach(&self.context, instance, request)).await
    }
}

/// The ends of a process's stdio.
struct Pipes {
    stdin: Option<pipe::Sender>,
    stdout: pipe::Receiver,
    stderr: pipe::Receiver,
}

fn pipes(with_stdin: bool) -> io::Result<(Pipes, [OwnedFd; 3])> {
    let pipe = || pipe_with(PipeFlags::CLOEXEC);
    let ((out, out_in), (err, err_in)) = (pipe()?, pipe()?);
    for ours in [&out, &err] {
        rustix::fs::fcntl_setfl(ours, rustix::fs::OFlags::NONBLOCK)?;
    }
    let (stdin, inside) = if with_stdin {
        let (inside, ours) = pipe()?;
        rustix::fs::fcntl_setfl(&ours, rustix::fs::OFlags::NONBLOCK)?;
        (Some(pipe::Sender::from_owned_fd(ours)?), inside)
    } else {
        (None, File::open("/dev/null")?.into())
    };
    let (stdout, stderr) = (pipe::Receiver::from_owned_fd(out)?, pipe::Receiver::from_owned_fd(err)?);
    Ok((Pipes { stdin, stdout, stderr }, [inside, out_in, err_in]))
}

async fn exec(context: &SharedContext, instance: &InstanceRef, request: &ExecRequest) -> Result<Session> {
    let operation = "exec";
    request.workdir.as_deref().map_or(Ok(()), |path| check_workdir(operation, path))?;
    let record = running(context, operation, instance).await?;
    let directory = context.instances.directory(&record.id);
    let capabilities = context.host.spec.capabilities_of(&record.plan.security);
    let asked = described(&record, request, capabilities);
    let (pipes, inside) = match request.tty {
        true => (None, None),
        false => {
            let (pipes, inside) = pipes(request.stdin).context(operation, "make pipes")?;
            (Some(pipes), Some(inside))
        }
    };
    let carried: Vec<_> = inside.iter().flatten().map(AsFd::as_fd).collect();
    let (connection, terminal) = match client::ask(operation, &directory, &asked, &carried).await? {
        Ok(Asked::Done(connection, terminal)) => (connection, terminal),
        Ok(Asked::Gone) => return Err(conflict(operation, &record, "is not running")),
        Err(fault) => {
            return match fault.code {
                Some(code) => Ok(never_ran(code, &fault.message)),
                None => Err(from_shim(operation, &fault)),
            };
        }
    };
    drop(inside);
    let ended = output::ended(connection);
    match (pipes, terminal) {
        (Some(pipes), _) => Ok(of_pipes(pipes, ended)),
        (None, Some(terminal)) => of_terminal(operation, terminal, request.stdin, ended),
        (None, None) => Err(Error::new(ErrorKind::Internal, operation, "no terminal came")),
    }
}

fn of_pipes(pipes: Pipes, ended: Ended) -> Session {
    let piece = |stream, pipe| output::of_pipe(stream, pipe, ended.clone());
    let output = stream::select(piece(StdStream::Stdout, pipes.stdout), piece(StdStream::Stderr, pipes.stderr));
    let stdin = pipes.stdin.map(|stdin| Box::pin(Closing(Some(stdin))) as Pin<Box<dyn AsyncWrite + Send>>);
    Session { stdin, output: output.boxed(), resize: None, exit: output::exit(ended) }
}

/// A pipe that is closed by shutting it down, not only by dropping it.
struct Closing(Option<pipe::Sender>);

impl AsyncWrite for Closing {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Some(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().map_or(Poll::Ready(Ok(())), |pipe| Pin::new(pipe).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        self.0 = None;
        Poll::Ready(Ok(()))
    }
}

fn of_terminal(operation: &'static str, terminal: OwnedFd, with_stdin: bool, ended: Ended) -> Result<Session> {
    let what = "use the terminal";
    rustix::fs::fcntl_setfl(&terminal, rustix::fs::OFlags::NONBLOCK).context(operation, what)?;
    let copy = || terminal.try_clone().context(operation, what);
    let end = |fd: OwnedFd| hythe_local::inotify::registered(File::from(fd)).map(Terminal).context(operation, what);
    let (reading, sizing) = (end(copy()?)?, copy()?);
    let stdin = with_stdin.then(|| end(copy()?)).transpose()?;
    let (sender, mut sizes) = mpsc::channel::<TerminalSize>(4);
    tokio::spawn(async move {
        while let Some(size) = sizes.recv().await {
            let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
            // Only a terminal that has ended refuses.
            let _ = tcsetwinsize(&sizing, size);
        }
    });
    Ok(Session {
        stdin: stdin.map(|stdin| Box::pin(stdin) as Pin<Box<dyn AsyncWrite + Send>>),
        output: output::of_terminal(reading, ended.clone()),
        resize: Some(sender),
        exit: output::exit(ended),
    })
}
