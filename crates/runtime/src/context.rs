//! What travels with every call: who asked, until when, and whether they still want it.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// Context of one operation.
#[derive(Debug, Clone, Default)]
pub struct OpContext {
    /// Moment after which the caller no longer waits; `None`: the timeout layer's default for the operation.
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
}
