//! One process of a task, by containerd's API, and how it ends.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use hythe_runtime::{Error, ErrorKind, Result, TerminalSize};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::sync::mpsc;

use crate::api_types::{CloseIo, Empty, OfTask, ResizePty, Waited};
use crate::client::Answers;
use crate::context::SharedContext;
use crate::task;

/// How often it is asked again how a process ended, where containerd does not answer; and how long it is waited in between.
const TRIES: u32 = 60;
const AGAIN: Duration = Duration::from_millis(500);

/// A process: the main one where `exec` is empty.
#[derive(Debug, Clone)]
pub(crate) struct TaskProcess {
    pub(crate) context: SharedContext,
    pub(crate) operation: &'static str,
    pub(crate) container: String,
    pub(crate) exec: String,
}

/// How a process ended.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// With this exit code.
    Code(i32),
    /// It was killed after so long.
    Overdue(Duration),
    /// It is not known.
    Lost(String),
}

/// Resolves with the end of a process.
pub(crate) type Ended = Shared<BoxFuture<'static, End>>;

impl TaskProcess {
    pub(crate) fn named(&self) -> OfTask {
        OfTask { container_id: self.container.clone(), exec_id: self.exec.clone() }
    }

    /// Asks for its end.
    pub(crate) async fn wait(&self) -> Result<Answers> {
        self.context.client.stream(self.operation, "tasks.v1.Tasks/Wait", &self.named(), None).await
    }

    /// Follows it to its end, also where nobody waits for that any more. Where there is a limit it is killed after it.
    pub(crate) fn follow(&self, waiting: Answers, limit: Option<(u32, Duration)>) -> Ended {
        let process = self.clone();
        let followed = tokio::spawn(async move {
            let mut ended = std::pin::pin!(process.ended(waiting));
            let Some((pid, limit)) = limit else { return ended.await };
            match tokio::time::timeout(limit, &mut ended).await {
                Ok(end) => end,
                Err(_) => {
                    process.kill_group(pid);
                    ended.await;
                    End::Overdue(limit)
                }
            }
        });
        let lost = |error: tokio::task::JoinError| End::Lost(error.to_string());
        async move { followed.await.unwrap_or_else(lost) }.boxed().shared()
    }

    async fn ended(&self, mut waiting: Answers) -> End {
        let mut last = String::new();
        for _ in 0..TRIES {
            match waiting.next::<Waited>().await {
                Ok(Some(waited)) => return End::Code(i32::try_from(waited.exit_status).unwrap_or(255)),
                Ok(None) => return End::Lost("containerd gave no exit code".to_owned()),
                Err(error) if error.kind() != ErrorKind::Unavailable => return End::Lost(error.message().to_owned()),
                Err(error) => last = error.message().to_owned(),
            }
            tokio::time::sleep(AGAIN).await;
            if let Ok(again) = self.wait().await {
                waiting = again;
            }
        }
        End::Lost(last)
    }

    /// Kills it with its process group, which it leads.
    fn kill_group(&self, pid: u32) {
        let group = i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw);
        if let Some(group) = group.filter(|_| task::has_process(&self.container, pid)) {
            // It may have ended just now.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    pub(crate) async fn resize(&self, size: TerminalSize) -> Result<()> {
        let OfTask { container_id, exec_id } = self.named();
        let (width, height) = (u32::from(size.columns), u32::from(size.rows));
        let request = ResizePty { container_id, exec_id, width, height };
        self.context.client.call::<Empty>(self.operation, "tasks.v1.Tasks/ResizePty", &request).await.map(drop)
    }

    /// Where new sizes of its terminal go.
    pub(crate) fn sizes(&self) -> mpsc::Sender<TerminalSize> {
        let process = self.clone();
        let (sender, mut sizes) = mpsc::channel::<TerminalSize>(4);
        tokio::spawn(async move {
            while let Some(size) = sizes.recv().await {
                if let Err(error) = process.resize(size).await {
                    tracing::debug!(container = %process.container, %error, "a terminal is not resized");
                }
            }
        });
        sender
    }

    /// Closes its stdin, which containerd's shim holds open.
    pub(crate) fn close_stdin(&self) {
        let process = self.clone();
        let Ok(tokio) = tokio::runtime::Handle::try_current() else { return };
        tokio.spawn(async move {
            let OfTask { container_id, exec_id } = process.named();
            let request = CloseIo { container_id, exec_id, stdin: true };
            let call = process.context.client.call::<Empty>(process.operation, "tasks.v1.Tasks/CloseIO", &request);
            // One that has ended has none.
            if let Err(error) = call.await.map(drop)
                && !error.is_not_found()
            {
                tracing::debug!(container = %process.container, %error, "a stdin is not closed");
            }
        });
    }

    /// Deletes it, once it has ended. Before that containerd's shim hands on its output, for two seconds at most.
    pub(crate) async fn delete(&self) {
        let (client, named) = (&self.context.client, self.named());
        let call = client.call::<Empty>(self.operation, "tasks.v1.Tasks/DeleteProcess", &named);
        if let Err(error) = call.await.map(drop)
            && !error.is_not_found()
        {
            tracing::debug!(container = %self.container, %error, "an ended process is not deleted");
        }
    }
}

/// The exit code of a session.
pub(crate) fn exit(operation: &'static str, ended: Ended) -> BoxFuture<'static, Result<i32>> {
    let code = move |end| match end {
        End::Code(code) => Ok(code),
        End::Overdue(limit) => {
            let message = format!("the process did not end in time: it was killed after {} ms", limit.as_millis());
            Err(Error::new(ErrorKind::Timeout, operation, message))
        }
        End::Lost(why) => {
            Err(Error::new(ErrorKind::Unavailable, operation, format!("the exit code of the process is lost: {why}")))
        }
    };
    ended.map(code).boxed()
}
