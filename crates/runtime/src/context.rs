//! What travels with every call: who asked, until when, and whether they still want it.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Error, ErrorKind, Result};

/// Context of one operation.
#[derive(Debug, Clone, Default)]
pub struct OpContext {
    /// Moment after which the caller no longer waits, by the clock that tests pause; `None`: the timeout layer's default for the operation.
    pub deadline: Option<Instant>,
    /// Cancelled when the caller withdraws. A driver stops waiting; what the engine has begun may still happen.
    pub cancel: CancellationToken,
    /// Id that ties log lines of one request together.
    pub request: String,
}

impl OpContext {
    /// A context without deadline for the given request id.
    pub fn new(request: impl Into<String>) -> Self {
        Self { deadline: None, cancel: CancellationToken::new(), request: request.into() }
    }

    /// The same context that ends after this time at the latest.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        let at = Instant::now() + time;
        self.deadline = Some(self.deadline.map_or(at, |earlier| earlier.min(at)));
        self
    }

    /// Waits for the work, the deadline or the caller's withdrawal, whichever is first; `late` says what a deadline that passed means.
    ///
    /// # Errors
    /// Those of the work; `Cancelled`; `Timeout`.
    pub async fn bounded<T>(
        &self,
        operation: &'static str,
        late: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
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
            () = passed => Err(Error::new(ErrorKind::Timeout, operation, late)),
        }
    }
}
