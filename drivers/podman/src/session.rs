//! A session over a podman child: its streams, its terminal, its exit code.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, TryFutureExt, stream};
use hythe_runtime::{Error, ErrorKind, OutputStream, Result, Session, StdStream, TerminalSize};
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::client::About;
use crate::driver::Podman;
use crate::program::exit_code;
use crate::pty::{self, Terminal};
use crate::stdin::Stdin;
use crate::{error, pidfd};

const CHUNK: usize = 64 * 1024;
/// How much of podman's last words is kept to tell its failures from the command's.
const LAST_WORDS: usize = 4096;
const SIZES: usize = 16;
/// The exit code of a command that is there, but cannot be executed.
const NOT_EXECUTABLE: i32 = 126;

/// Which streams a session has.
#[derive(Clone, Copy)]
pub(crate) struct Streams {
    pub(crate) tty: bool,
    pub(crate) stdin: bool,
    pub(crate) size: Option<TerminalSize>,
}

impl Podman {
    /// Starts the command and connects to it.
    pub(crate) fn session(&self, about: About<'_>, mut command: Command, streams: Streams) -> Result<Session> {
        command.kill_on_drop(true);
        let started = if streams.tty { on_terminal(command, streams) } else { on_pipes(command, streams) };
        let Connection { child, stdin, output, resize } =
            started.map_err(|cause| self.program.not_started(about, cause))?;
        let words = LastErrorLines::default();
        let output = listened(output, words.clone());
        let stdin = stdin.filter(|_| streams.stdin);
        let exit = ended(child, about, words);
        Ok(Session { stdin: stdin.map(|stdin| Box::pin(stdin) as _), output, resize, exit: exit.boxed() })
    }
}

struct Connection {
    child: Child,
    stdin: Option<Stdin>,
    output: OutputStream,
    resize: Option<mpsc::Sender<TerminalSize>>,
}

fn on_pipes(mut command: Command, streams: Streams) -> std::io::Result<Connection> {
    if streams.stdin {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn()?;
    let stdin = child.stdin.take().map(Stdin::new);
    let stdout = child.stdout.take().map(|pipe| chunks(pipe, StdStream::Stdout));
    let stderr = child.stderr.take().map(|pipe| chunks(pipe, StdStream::Stderr));
    let output = stream::select_all(stdout.into_iter().chain(stderr)).boxed();
    Ok(Connection { child, stdin, output, resize: None })
}

/// Podman's stdin and stdout are a terminal; its stderr stays a pipe, so that its own words are not lost among the output.
fn on_terminal(mut command: Command, streams: Streams) -> std::io::Result<Connection> {
    let Terminal { output, input, size, theirs } = Terminal::open(streams.size)?;
    command.stdin(Stdio::from(theirs.try_clone()?)).stdout(Stdio::from(theirs));
    let mut child = command.spawn()?;
    // The builder holds podman's end open, and with it the end of the output away.
    drop(command);
    let stderr = child.stderr.take().map(|pipe| chunks(pipe, StdStream::Stdout));
    let output = stream::select_all([chunks(output, StdStream::Stdout)].into_iter().chain(stderr)).boxed();
    let resize = child.id().map(|pid| resizer(size, pid));
    Ok(Connection { child, stdin: Some(Stdin::new(input)), output, resize })
}

/// Passes sizes on; podman looks at its terminal again when told by a signal.
fn resizer(terminal: pty::Size, podman: u32) -> mpsc::Sender<TerminalSize> {
    let (sender, mut sizes) = mpsc::channel(SIZES);
    let process = pidfd::open(podman);
    tokio::spawn(async move {
        while let Some(size) = sizes.recv().await {
            if terminal.set(size).is_err()
                || !process.as_ref().is_some_and(|process| pidfd::signal(process, Signal::WINCH))
            {
                break;
            }
        }
    });
    sender
}

fn chunks(pipe: impl AsyncRead + Send + Unpin + 'static, name: StdStream) -> OutputStream {
    stream::try_unfold(pipe, move |mut pipe| async move {
        let mut buffer = BytesMut::with_capacity(CHUNK);
        match pipe.read_buf(&mut buffer).await {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(((name, buffer.freeze()), pipe))),
            Err(cause) => {
                Err(Error::new(ErrorKind::Unavailable, "exec", format!("the output of podman broke off: {cause}"))
                    .source(cause))
            }
        }
    })
    .boxed()
}

/// The end of what was written beside stdout.
#[derive(Debug, Clone, Default)]
struct LastErrorLines(Arc<Mutex<Vec<u8>>>);

impl LastErrorLines {
    fn hear(&self, bytes: &Bytes) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.extend_from_slice(&bytes[bytes.len().saturating_sub(LAST_WORDS)..]);
        let excess = heard.len().saturating_sub(LAST_WORDS);
        heard.drain(..excess);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

fn listened(output: OutputStream, words: LastErrorLines) -> OutputStream {
    output
        .inspect(move |chunk| {
            if let Ok((_, bytes)) = chunk {
                words.hear(bytes)
            }
        })
        .boxed()
}

/// The command's exit code, unless podman's own words say that it never ran.
fn ended(
    mut child: Child,
    about: About<'_>,
    words: LastErrorLines,
) -> impl Future<Output = Result<i32>> + Send + 'static {
    let (operation, subject) = (about.operation, about.subject.to_owned());
    async move {
        let about = About { operation, subject: &subject };
        let status: ExitStatus = child
            .wait()
            .map_err(|cause| {
                Error::new(ErrorKind::Internal, operation, format!("`{subject}`: podman cannot be waited for: {cause}"))
                    .source(cause)
            })
            .await?;
        let heard = words.text();
        let code = exit_code(about, status, &heard)?;
        if is_podmans_own(code, &heard) && error::is_not_executable(&error::words(&heard).to_lowercase()) {
            // Podman knows no code for these words of newer OCI runtimes, and passes its own on.
            return Ok(NOT_EXECUTABLE);
        }
        match never_ran(about, code, &heard) {
            Some(error) => Err(error),
            None => Ok(code),
        }
    }
}

fn is_podmans_own(code: i32, heard: &str) -> bool {
    matches!(code, 125 | 255) && heard.lines().next_back().is_some_and(|line| line.starts_with("Error: "))
}

/// Podman ends with 125 or 255 where it could not even try; a command may do that too, but not with these words last.
fn never_ran(about: About<'_>, code: i32, heard: &str) -> Option<Error> {
    let known = is_podmans_own(code, heard) && error::is_known(heard);
    let error = known.then(|| error::translate(about, code, heard))?;
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Invalid | ErrorKind::Unavailable)
        .then_some(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podmans_failures_are_not_the_commands() {
        let about = About { operation: "exec", subject: "a" };
        let refused = never_ran(
            about,
            255,
            "Error: can only create exec sessions on running containers: container state improper\n",
        );
        assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::Conflict));
        let user = never_ran(about, 255, "Error: unable to find user nosuch: no matching entries in passwd file\n");
        assert_eq!(user.map(|error| error.kind()), Some(ErrorKind::Invalid));
        assert!(never_ran(about, 255, "connection refused\n").is_none());
        assert!(never_ran(about, 125, "Error: something of the command's own\n").is_none());
        assert!(
            never_ran(about, 127, "Error: runc: exec failed: attempted to invoke a command that was not found\n")
                .is_none()
        );
    }
}
