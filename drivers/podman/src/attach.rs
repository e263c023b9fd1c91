//! Connections to main processes: the output read from the log, the input given to one `podman attach` that all share.
//!
//! A terminal, and what podman keeps no log file of, is reached through a `podman attach` for each session. It reports neither the exit code (its own is
//! 0) nor where the output really ends (it adds a line feed).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use hythe_runtime::{
    AttachRequest, EndedInputs, Error, ErrorKind, InstanceRef, OpContext, OutputStream, Result, Session, StdStream,
};
use tokio::io::AsyncWrite;

use crate::api_types::Container;
use crate::client::{About, Client};
use crate::connect::answer_within;
use crate::driver::Podman;
use crate::log_output;
use crate::logs::{IDLE, Monitor};
use crate::session::Streams;

/// How long the main process may outlive the connection to it.
const ENDING: Duration = Duration::from_secs(5);

/// How long a line feed may be held back: podman ends well within this time after it wrote its own.
const HOLD: Duration = Duration::from_millis(250);
const LINE_FEED: Bytes = Bytes::from_static(b"\n");

impl Podman {
    pub(crate) async fn open_attach(
        &self,
        cx: &OpContext,
        instance: &InstanceRef,
        request: &AttachRequest,
    ) -> Result<Session> {
        let about = About { operation: "attach", subject: instance.as_str() };
        let container = self.running(cx, "attach", instance).await?;
        if request.stdin && !container.config.open_stdin {
            let message = format!("`{}`: its stdin is not open", instance.as_str());
            return Err(Error::new(ErrorKind::Conflict, "attach", message).hint("set `stdin = true` in its component"));
        }
        let run = container.started().map(|time| time.to_string()).unwrap_or_default();
        if request.stdin {
            self.ended_inputs.check(&container.id, &run)?;
        }
        if self.local.is_some() && !container.config.tty && container.host_config.log_config.is_file() {
            return self.by_log(about, &container, request.stdin.then_some(run)).await;
        }
        let mut args = vec!["attach".to_owned(), "--sig-proxy=false".to_owned(), "--detach-keys=".to_owned()];
        args.extend((!request.stdin).then(|| "--no-stdin".to_owned()));
        args.push(instance.as_str().to_owned());
        let streams = Streams { tty: container.config.tty, stdin: request.stdin, size: request.size };
        let mut session = self.session(about, self.program.command(&args.into()), streams)?;
        session.stdin = session.stdin.map(|stdin| self.ending(stdin, &container, run));
        session.output = trimmed(session.output);
        session.exit = exit_code(self.client.clone(), instance.clone(), session.exit).boxed();
        Ok(session)
    }

    /// A session whose end ends nothing; with input where the run is named.
    async fn by_log(&self, about: About<'_>, container: &Container, run: Option<String>) -> Result<Session> {
        let output = log_output::from_now(container).await?;
        let stdin = run.map(|run| {
            let writer = self.stdin_holders.writer(&self.program, &container.id, &run);
            let writer = writer.map_err(|cause| self.program.not_started(about, cause))?;
            Ok::<_, Error>(self.ending(Box::pin(writer), container, run))
        });
        let monitor = Monitor::of(container.state.conmon_pid);
        let ended = async move {
            while monitor.as_ref().is_some_and(|monitor| !monitor.is_over()) {
                tokio::time::sleep(IDLE).await;
            }
            Ok(0)
        };
        let exit = exit_code(self.client.clone(), container.instance().into(), ended).boxed();
        Ok(Session { stdin: stdin.transpose()?, output, resize: None, exit })
    }

    /// A stdin whose shutting down is noted: no other session writes to it then.
    fn ending(&self, stdin: Stdin, container: &Container, run: String) -> Stdin {
        Box::pin(Ending { stdin, ended: self.ended_inputs.clone(), id: container.id.clone(), run })
    }
}

/// The main process's exit code once the session has ended; `Unavailable` where only the connection ended.
async fn exit_code(client: Client, instance: InstanceRef, attached: impl Future<Output = Result<i32>>) -> Result<i32> {
    attached.await?;
    let about = About { operation: "attach", subject: instance.as_str() };
    let cx = OpContext::default();
    answer_within(ENDING, about, client.exit_code(&cx, about)).await?
}
type Stdin = Pin<Box<dyn AsyncWrite + Send>>;

struct Ending {
    stdin: Stdin,
    ended: EndedInputs,
    id: String,
    run: String,
}

impl AsyncWrite for Ending {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stdin.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stdin.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended.note(&self.id, &self.run);
        self.stdin.as_mut().poll_shutdown(cx)
    }
}

struct Trimmed {
    output: OutputStream,
    held: bool,
    /// The chunk that came while a line feed was held.
    next: Option<Bytes>,
}

type Item = Result<(StdStream, Bytes)>;

/// The same output without a line feed that is stdout's very last byte.
fn trimmed(output: OutputStream) -> OutputStream {
    let state = Trimmed { output, held: false, next: None };
    stream::unfold(state, |mut state| async move {
        let item = state.step().await?;
        Some((item, state))
    })
    .boxed()
}

impl Trimmed {
    async fn step(&mut self) -> Option<Item> {
        loop {
            if let Some(bytes) = self.next.take() {
                match self.hold_back(bytes) {
                    Some(bytes) => return Some(Ok((StdStream::Stdout, bytes))),
                    None => continue,
                }
            }
            let received = if self.held {
                match tokio::time::timeout(HOLD, self.output.next()).await {
                    Ok(received) => received,
                    Err(_) => return Some(self.release()),
                }
            } else {
                self.output.next().await
            };
            match received? {
                Ok((StdStream::Stdout, bytes)) if self.held => {
                    self.next = Some(bytes);
                    return Some(self.release());
                }
                Ok((StdStream::Stdout, bytes)) => self.next = Some(bytes),
                other => return Some(other),
            }
        }
    }

    fn release(&mut self) -> Item {
        self.held = false;
        Ok((StdStream::Stdout, LINE_FEED))
    }

    /// What may go on of a chunk: all but its last line feed.
    fn hold_back(&mut self, mut bytes: Bytes) -> Option<Bytes> {
        self.held = bytes.last() == Some(&b'\n');
        if self.held {
            bytes.truncate(bytes.len() - 1);
        }
        (!bytes.is_empty()).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn through(chunks: &[&'static str]) -> String {
        let chunks: Vec<Item> =
            chunks.iter().map(|chunk| Ok((StdStream::Stdout, Bytes::from_static(chunk.as_bytes())))).collect();
        let trimmed = trimmed(stream::iter(chunks).boxed());
        let all: Vec<Bytes> = trimmed.filter_map(|item| async { item.ok().map(|(_, bytes)| bytes) }).collect().await;
        String::from_utf8_lossy(&all.concat()).into_owned()
    }

    #[tokio::test]
    async fn only_the_last_line_feed_goes() {
        assert_eq!(through(&["a\n", "\n"]).await, "a\n");
        assert_eq!(through(&["a\n\n"]).await, "a\n");
        assert_eq!(through(&["a", "\n"]).await, "a");
        assert_eq!(through(&["\n", "\n", "b\n", "\n"]).await, "\n\nb\n");
        assert_eq!(through(&[]).await, "");
    }
}
