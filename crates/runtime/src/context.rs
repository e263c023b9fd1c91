//! What travels with every call: who asked, until when, whether they still want it, and where its progress goes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Error, ErrorKind, Pending, Result};

/// Context of one operation.
#[derive(Debug, Clone, Default)]
pub struct OpContext {
    /// Moment after which the caller no longer waits, by the clock that tests pause; `None`: the timeout layer's default for the operation.
    pub deadline: Option<Instant>,
    /// Cancelled when the caller withdraws. A driver stops waiting; what the engine has begun may still happen.
    pub cancel: CancellationToken,
    /// Id that ties log lines of one request together.
    pub request: String,
    /// Where a driver says that a call only waits, and for what.
    pub waiting: Waiting,
}

/// What a call that may take minutes waits for, as its driver reports it: [`Runtime::create`](crate::Runtime::create),
/// [`Runtime::run`](crate::Runtime::run) and [`Runtime::start`](crate::Runtime::start) do. Clones share it.
#[derive(Debug, Clone)]
pub struct Waiting(Arc<watch::Sender<Option<(Pending, Instant)>>>);

/// Reports of a [`Waiting`]; none yet is `None`.
pub type Reports = watch::Receiver<Option<(Pending, Instant)>>;

impl Default for Waiting {
    fn default() -> Self {
        Self(Arc::new(watch::channel(None).0))
    }
}

impl Waiting {
    /// The instance is in the engine under its name, and the call only waits for the engine to start it: to drop it now is safe.
    /// To be repeated while there is progress, since a call that reports nothing new ends with its time.
    pub fn report(&self, pending: Pending) {
        self.0.send_replace(Some((pending, Instant::now())));
    }

    /// The last report and its time.
    pub fn last(&self) -> Option<(Pending, Instant)> {
        self.0.borrow().clone()
    }

    /// Every report from now on, the last one first.
    pub fn reports(&self) -> Reports {
        let mut reports = self.0.subscribe();
        reports.mark_changed();
        reports
    }
}

impl OpContext {
    /// A context without deadline for the given request id.
    pub fn new(request: impl Into<String>) -> Self {
        Self { request: request.into(), ..Self::default() }
    }

    /// The same context that ends after this time at the latest.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        let at = Instant::now() + time;
        self.deadline = Some(self.deadline.map_or(at, |earlier| earlier.min(at)));
        self
    }

    /// Waits for the work, the deadline or the caller's withdrawal, whichever is first. The work ends with the wait: it changes nothing, or ends well at any point.
    ///
    /// # Errors
    /// Those of the work; `Cancelled`; `Timeout`.
    pub async fn with_deadline<T>(&self, operation: &'static str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let passed = async {
            match self.deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Error::new(ErrorKind::Cancelled, operation, "the caller withdrew")),
            done = work => done,
            () = passed => Err(Error::new(ErrorKind::Timeout, operation, "it was not done in time")),
        }
    }

    /// As [`OpContext::with_deadline`], for work that changes something: it runs to its end even when nobody waits any more, so that nothing is left halfway.
    ///
    /// # Errors
    /// As [`OpContext::with_deadline`]; `Internal` where the work panicked.
    pub async fn run_detached<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let task = tokio::spawn(work);
        self.with_deadline(operation, async { task.await.unwrap_or_else(|lost| Err(ended_early(operation, lost))) })
            .await
    }
}

/// Runs what blocks on a thread that may block.
///
/// # Errors
/// Those of the work; `Internal` where it panicked.
pub async fn run_blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|lost| Err(ended_early(operation, lost)))
}

fn ended_early(operation: &'static str, lost: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Internal, operation, "the call ended early").source(lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn run_detached_goes_on_when_the_caller_withdraws() {
        let cx = OpContext::default();
        let (begun, go_on) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
        let (begun, go_on) = (std::sync::Arc::new(begun), std::sync::Arc::new(go_on));
        let (report, done) = tokio::sync::oneshot::channel();
        let work = {
            let (begun, go_on) = (begun.clone(), go_on.clone());
            async move {
                begun.notify_one();
                go_on.notified().await;
                let _nobody_listens = report.send(());
                Ok(())
            }
        };
        let withdraw = async {
            begun.notified().await;
            cx.cancel.cancel();
        };
        let (waited, ()) = tokio::join!(cx.run_detached("test", work), withdraw);
        assert_eq!(waited.map_err(|error| error.kind()), Err(ErrorKind::Cancelled));
        go_on.notify_one();
        assert!(done.await.is_ok());
    }

    #[tokio::test]
    async fn with_deadline_ends_at_the_deadline() {
        let cx = OpContext::default().within(Duration::from_millis(1));
        let waited = cx.with_deadline("test", std::future::pending::<Result<()>>()).await;
        assert_eq!(waited.map_err(|error| error.kind()), Err(ErrorKind::Timeout));
    }
}
