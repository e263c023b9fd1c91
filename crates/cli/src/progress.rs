//! Following an operation: drawn on a terminal, plain lines elsewhere, and an outcome in the end.

mod bars;
mod lines;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use hythe_api::{Operation, OperationState, Progress, ProgressPhase};
use hythe_client::{Client, ClientError, Items, ProtocolError, Update};

use crate::args::Wait;
use crate::output::Printer;
use crate::report::{Failure, Outcome, rejoin};

/// Shows progress as it arrives.
#[derive(Debug)]
enum Display {
    Bars(bars::Bars),
    Lines(lines::Lines),
}

impl Display {
    fn new(printer: Printer<'_>) -> Self {
        if printer.settings.interactive {
            Self::Bars(bars::Bars::new(printer.settings.color_stderr))
        } else {
            Self::Lines(lines::Lines::default())
        }
    }

    fn show(&mut self, progress: &Progress, printer: Printer<'_>) {
        match self {
            Self::Bars(bars) => bars.show(progress),
            Self::Lines(lines) => {
                if let Some(line) = lines.line(progress) {
                    printer.talk(line);
                }
            }
        }
    }

    fn finish(self) {
        if let Self::Bars(bars) = self {
            bars.finish();
        }
    }
}

/// How an operation that was followed ended.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) operation: Operation,
    /// Workloads that reported failure on the way.
    pub(crate) failed: BTreeSet<String>,
}

impl Followed {
    /// The operation where it succeeded.
    pub(crate) fn outcome(self) -> Outcome<Operation> {
        match self.operation.state {
            OperationState::Succeeded => Ok(self.operation),
            OperationState::Running | OperationState::Failed | OperationState::Cancelled => {
                Err(Failure::Operation(Box::new(self.operation)))
            }
        }
    }
}

/// Follows an operation until it ends, ctrl-c, or the time is up; the agent goes on in the latter two.
pub(crate) async fn follow(
    client: &Client,
    id: &str,
    timeout: Option<Duration>,
    printer: Printer<'_>,
) -> Outcome<Followed> {
    let updates = client.progress(id).await?;
    tokio::select! {
        followed = until_done(updates, printer) => followed,
        _ = tokio::signal::ctrl_c() => {
            printer.talk(format_args!("\ndetached; the agent goes on, {}", rejoin(id)));
            Err(Failure::Interrupted)
        }
        after = expired(timeout) => Err(Failure::StillRunning {
            id: id.to_owned(),
            after: hythe_spec::Millis(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        }),
    }
}

/// Follows an operation just begun as far as the user asked; `None`: not at all.
pub(crate) async fn wait(client: &Client, id: &str, wait: Wait, printer: Printer<'_>) -> Outcome<Option<Followed>> {
    if wait.detach {
        printer.talk(format_args!("accepted; {}", rejoin(id)));
        return Ok(None);
    }
    let timeout = wait.timeout.map(hythe_spec::Millis::duration);
    follow(client, id, timeout, printer).await.map(Some)
}

async fn until_done(mut updates: Items<Update>, printer: Printer<'_>) -> Outcome<Followed> {
    let mut display = Display::new(printer);
    let mut failed = BTreeSet::new();
    while let Some(update) = updates.next().await {
        match update? {
            Update::Progress(progress) => {
                display.show(&progress, printer);
                failed.extend(progress.workload.filter(|_| progress.phase == ProgressPhase::Failed));
            }
            Update::Done(operation) => {
                display.finish();
                return Ok(Followed { operation: *operation, failed });
            }
        }
    }
    Err(ClientError::from(ProtocolError::Truncated { path: "progress".to_owned() }).into())
}

async fn expired(timeout: Option<Duration>) -> Duration {
    match timeout {
        Some(timeout) => {
            tokio::time::sleep(timeout).await;
            timeout
        }
        None => std::future::pending().await,
    }
}
