//! Processes beside the main one, and connections to the main one.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use hythe_runtime::{
    AttachRequest, Error, ErrorKind, Exec, ExecRequest, InstanceId, OpContext, OutputStream, Result, Session, State,
    StdStream, TerminalSize,
};
use hythe_shim::protocol::{self, Request, Size, frame, kind};
use hythe_shim::record::Process;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

use crate::client::{self, Asked};
use crate::core::{Core, Shared};
use crate::driver::Embedded;
use crate::error::{Doing, blocking, bounded, of_fault};
use crate::instances::Record;

/// Frames that wait to be read by who attached.
const WAITS: usize = 64;

async fn running(core: &Shared, operation: &'static str, id: &InstanceId) -> Result<Record> {
    let (core, id) = (core.clone(), id.clone());
    blocking(operation, move || {
        let (record, _) = core.instances.find(operation, &id)?;
        match crate::observe::state(&core, operation, &record)?.state {
            State::Running => Ok(record),
            State::Paused => Err(conflict(operation, &record, "is paused")),
            _ => Err(conflict(operation, &record, "is not running")),
        }
    })
    .await
}

fn conflict(operation: &'static str, record: &Record, what: &str) -> Error {
    Error::new(ErrorKind::Conflict, operation, format!("`{}` {what}", record.name))
}

#[async_trait]
impl Exec for Embedded {
    async fn exec(&self, cx: &OpContext, id: &InstanceId, request: &ExecRequest) -> Result<Session> {
        bounded(cx, "exec", exec(&self.core, id, request)).await
    }

    async fn attach(&self, cx: &OpContext, id: &InstanceId, request: &AttachRequest) -> Result<Session> {
        bounded(cx, "attach", attach(&self.core, id, request)).await
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

fn described(core: &Core, record: &Record, request: &ExecRequest) -> Request {
    let plan = &record.plan;
    let security = &plan.security;
    let mut env = record.command.env.clone();
    if request.tty {
        env.entry("TERM".to_owned()).or_insert_with(|| "xterm".to_owned());
    }
    env.extend(request.env.clone());
    let capabilities =
        if security.privileged { core.machine.capabilities.clone() } else { security.capabilities.clone() };
    let process = Process {
        arguments: request.command.clone(),
        user: request.user.clone().or_else(|| record.command.user.clone()),
        workdir: request.workdir.clone().unwrap_or_else(|| record.command.workdir.clone()),
        capabilities,
        no_new_privileges: security.no_new_privileges && !security.privileged,
        filters: Vec::new(),
        init: false,
        tty: request.tty,
        stdin: request.stdin,
    };
    let size = request.size.map(|size| Size { columns: size.columns, rows: size.rows });
    Request::Exec(Box::new(protocol::Exec { process, env, size }))
}

async fn exec(core: &Shared, id: &InstanceId, request: &ExecRequest) -> Result<Session> {
    let operation = "exec";
    let record = running(core, operation, id).await?;
    let directory = core.instances.directory(&record.id);
    let asked = described(core, &record, request);
    let (pipes, inside) = match request.tty {
        true => (None, None),
        false => {
            let (pipes, inside) = pipes(request.stdin).doing(operation, "make pipes")?;
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
                None => Err(of_fault(operation, &fault)),
            };
        }
    };
    drop(inside);
    let exit = exit_of(connection);
    match (pipes, terminal) {
        (Some(pipes), _) => Ok(of_pipes(pipes, exit)),
        (None, Some(terminal)) => of_terminal(operation, terminal, request.stdin, exit),
        (None, None) => Err(Error::new(ErrorKind::Internal, operation, "no terminal came")),
    }
}

/// A session of a command that could not be executed.
/// A program that could not be executed ends as a shell would tell it, with the reason on its stderr.
fn never_ran(code: i32, reason: &str) -> Session {
    let exit = Box::pin(std::future::ready(Ok(code)));
    let told = Ok((StdStream::Stderr, Bytes::from(format!("{reason}\n"))));
    Session { stdin: Some(Box::pin(tokio::io::sink())), output: stream::iter([told]).boxed(), resize: None, exit }
}

fn exit_of(mut connection: UnixStream) -> BoxFuture<'static, Result<i32>> {
    Box::pin(async move {
        let end = client::end(&mut connection).await;
        end.map(|end| end.code)
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, "exec", "the supervisor died before the process ended"))
    })
}

fn pieces(stream: StdStream, from: impl AsyncRead + Send + 'static) -> OutputStream {
    let read = ReaderStream::with_capacity(from, 64 << 10);
    read.map(move |piece| match piece {
        Ok(bytes) => Ok((stream, bytes)),
        Err(error) => Err(error).doing("exec", "read the output"),
    })
    .boxed()
}

fn of_pipes(pipes: Pipes, exit: BoxFuture<'static, Result<i32>>) -> Session {
    let output = stream::select(pieces(StdStream::Stdout, pipes.stdout), pieces(StdStream::Stderr, pipes.stderr));
    let stdin = pipes.stdin.map(|stdin| Box::pin(Closing(Some(stdin))) as Pin<Box<dyn AsyncWrite + Send>>);
    Session { stdin, output: output.boxed(), resize: None, exit }
}

/// A pipe that is closed by shutting it down, not only by dropping it.
struct Closing(Option<pipe::Sender>);

impl AsyncWrite for Closing {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Some(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().map_or(Poll::Ready(Ok(())), |pipe| Pin::new(pipe).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0 = None;
        Poll::Ready(Ok(()))
    }
}

fn of_terminal(
    operation: &'static str,
    terminal: OwnedFd,
    with_stdin: bool,
    exit: BoxFuture<'static, Result<i32>>,
) -> Result<Session> {
    let what = "use the terminal";
    rustix::fs::fcntl_setfl(&terminal, rustix::fs::OFlags::NONBLOCK).doing(operation, what)?;
    let copy = || terminal.try_clone().doing(operation, what);
    let end = |fd: OwnedFd| crate::notice::registered(File::from(fd)).map(Terminal).doing(operation, what);
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
        output: pieces(StdStream::Stdout, reading),
        resize: Some(sender),
        exit,
    })
}

/// Our side of a terminal.
struct Terminal(AsyncFd<File>);

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

async fn attach(core: &Shared, id: &InstanceId, request: &AttachRequest) -> Result<Session> {
    let operation = "attach";
    let record = running(core, operation, id).await?;
    let directory = core.instances.directory(&record.id);
    let stdin = request.stdin && record.plan.stdin;
    let connection = match client::ask(operation, &directory, &Request::Attach { stdin }, &[]).await? {
        Ok(Asked::Done(connection, _)) => connection,
        Ok(Asked::Gone) => return Err(conflict(operation, &record, "is not running")),
        Err(fault) => return Err(of_fault(operation, &fault)),
    };
    Ok(attached(connection, stdin, record.plan.tty))
}

fn attached(connection: UnixStream, with_stdin: bool, tty: bool) -> Session {
    let (mut reading, writing) = connection.into_split();
    let (output, pieces) = mpsc::channel::<Result<(StdStream, Bytes)>>(WAITS);
    let (told, end) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                next = client::next_frame(&mut reading) => next,
                // Nobody reads any more: the connection goes.
                () = output.closed() => return,
            };
            let Some((what, content)) = next else { return };
            let stream = match what {
                kind::STDOUT => StdStream::Stdout,
                kind::STDERR => StdStream::Stderr,
                _ => {
                    // Nobody may want to know.
                    let _ = told.send(serde_json::from_slice::<hythe_shim::record::End>(&content).ok());
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
        let lost = || Error::new(ErrorKind::Unavailable, "attach", "the supervisor died before the process ended");
        end.map(|end| end.code).ok_or_else(lost)
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
    let resize = tty.then(|| sizes(commands.clone()));
    let stdin = with_stdin.then(|| stdin_of(commands));
    let output = tokio_stream::wrappers::ReceiverStream::new(pieces).boxed();
    Session { stdin, output, resize, exit: Box::pin(exit) }
}

fn sizes(commands: mpsc::Sender<Vec<u8>>) -> mpsc::Sender<TerminalSize> {
    let (sender, mut sizes) = mpsc::channel::<TerminalSize>(4);
    tokio::spawn(async move {
        while let Some(size) = sizes.recv().await {
            let size = Size { columns: size.columns, rows: size.rows };
            let Ok(framed) = protocol::frame_json(kind::SIZE, &size) else { continue };
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
