//! A session tied to this process's stdin, stdout and stderr.
//!
//! Input has a task of its own: a process that does not read must not keep its output from being shown.

use std::io::{IsTerminal, Write};

use futures_util::StreamExt;
use hythe_api::{SessionEnd, Size};
use hythe_client::{ClientError, Output, ProtocolError, Session, SessionInput};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::detach::DetachKeys;
use crate::output::Printer;
use crate::report::{Failure, Outcome};
use crate::terminal::{self, RawMode};

const CHUNK: usize = 32 * 1024;

/// What of this process is connected.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands) struct Console {
    pub(in crate::commands) stdin: bool,
    pub(in crate::commands) tty: bool,
}

impl Console {
    /// A terminal inside never sees the end of what is no terminal here: it is refused before anything is begun.
    pub(in crate::commands) fn must_fit(self, hint: &str) -> Outcome {
        if !self.stdin || !self.tty || std::io::stdin().is_terminal() {
            return Ok(());
        }
        let message = "stdin is not a terminal, and the process has one".to_owned();
        Err(Failure::Usage { message, hint: hint.to_owned() })
    }
}

/// Connects both ends until the process ends; its exit code is the outcome.
pub(in crate::commands) async fn converse(session: Session, console: Console, printer: Printer<'_>) -> Outcome {
    let raw = console.stdin && console.tty && std::io::stdin().is_terminal();
    let guard = raw.then(RawMode::enter).transpose().map_err(Failure::Terminal)?;
    let (left, leave) = oneshot::channel();
    let resized = signal(SignalKind::window_change()).map_err(Failure::Terminal)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(Failure::Terminal)?;
    let input = tokio::spawn(send(session.input, console, raw, resized, left));
    let outcome = tokio::select! {
        end = show(session.output) => end.and_then(exit),
        Ok(()) = leave => {
            printer.raw_mode_talk("detached; the process goes on");
            Ok(())
        }
        _ = terminated.recv() => Err(Failure::Interrupted),
    };
    input.abort();
    drop(guard);
    outcome
}

fn exit(end: SessionEnd) -> Outcome {
    match end {
        SessionEnd { problem: Some(problem), .. } => Err(ClientError::from(problem).into()),
        SessionEnd { exit: Some(0), .. } => Ok(()),
        SessionEnd { exit: Some(code), .. } => Err(Failure::Exit(u8::try_from(code).unwrap_or(u8::MAX))),
        SessionEnd { exit: None, problem: None } => Err(without_outcome()),
    }
}

fn without_outcome() -> Failure {
    ClientError::from(ProtocolError::Truncated { path: "session".to_owned() }).into()
}

/// Writes what the process says until it ends. Blocking writes: there is nothing better to do while a terminal is slow.
async fn show(mut output: hythe_client::SessionOutput) -> Outcome<SessionEnd> {
    while let Some(item) = output.next().await {
        match item? {
            Output::Stdout(bytes) => write(std::io::stdout().lock(), &bytes)?,
            Output::Stderr(bytes) => write(std::io::stderr().lock(), &bytes)?,
            Output::End(end) => return Ok(end),
        }
    }
    Err(without_outcome())
}

fn write(mut out: impl Write, bytes: &[u8]) -> Outcome {
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Passes on keys and sizes. An error here means that the session is over, and the other direction says why.
async fn send(mut input: SessionInput, console: Console, raw: bool, mut resized: Signal, left: oneshot::Sender<()>) {
    let mut keys = raw.then(DetachKeys::default);
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; CHUNK];
    let mut open = console.stdin;
    loop {
        tokio::select! {
            read = read(&mut stdin, &mut buffer), if open => match pass_on(&mut input, &buffer[..read], keys.as_mut()).await {
                Ok(Passed::On) => {}
                Ok(Passed::End) => open = false,
                Ok(Passed::Detach) => {
                    // Whoever listens has gone already if this fails.
                    let _ = left.send(());
                    return;
                }
                Err(_) => return,
            },
            Some(()) = resized.recv(), if console.tty => {
                if let Some(size) = terminal::size(std::io::stdout()) && resize(&mut input, size).await.is_err() {
                    return;
                }
            }
            // Neither stdin nor sizes: only the other direction is of interest, and this half must stay open for it.
            else => std::future::pending().await,
        }
    }
}

/// What cannot be read is at its end.
async fn read(stdin: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> usize {
    stdin.read(buffer).await.unwrap_or(0)
}

enum Passed {
    On,
    End,
    Detach,
}

async fn pass_on(input: &mut SessionInput, bytes: &[u8], keys: Option<&mut DetachKeys>) -> Result<Passed, ClientError> {
    if bytes.is_empty() {
        input.end().await?;
        return Ok(Passed::End);
    }
    let Some(keys) = keys else {
        input.write(bytes).await?;
        return Ok(Passed::On);
    };
    let found = keys.filter(bytes);
    input.write(&found.typed).await?;
    Ok(if found.detach { Passed::Detach } else { Passed::On })
}

async fn resize(input: &mut SessionInput, size: Size) -> Result<(), ClientError> {
    input.resize(size).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(exit_code: Option<i32>) -> u8 {
        exit(SessionEnd { exit: exit_code, problem: None }).map_or_else(|failure| failure.exit_code(), |()| 0)
    }

    #[test]
    fn the_exit_code_is_passed_through() {
        assert_eq!([Some(0), Some(3), Some(137)].map(code), [0, 3, 137]);
        assert_eq!([Some(-1), Some(256)].map(code), [255, 255]);
    }

    #[test]
    fn an_end_without_a_word_is_a_broken_conversation() {
        assert_eq!(code(None), 5);
    }
}
