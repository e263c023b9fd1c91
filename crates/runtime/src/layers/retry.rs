//! Once more, where that is safe and may help.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{Call, Policy};
use crate::{Error, ErrorKind, Result};

/// How often, and how soon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySettings {
    /// Tries after the first one.
    pub times: usize,
    /// Pause before the first of them; doubled each time.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { times: 3, first: Duration::from_millis(100), longest: Duration::from_secs(2) }
    }
}

/// Repeats what is repeatable after a temporary error.
///
/// Not after a timeout: that call has waited long enough. Never past the deadline, never after the caller withdrew.
#[derive(Debug, Clone, Default)]
pub struct Retry {
    settings: RetrySettings,
}

impl Retry {
    /// With these settings.
    pub const fn new(settings: RetrySettings) -> Self {
        Self { settings }
    }

    fn pauses(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        ExponentialBuilder::default()
            .with_min_delay(self.settings.first)
            .with_max_delay(self.settings.longest)
            .with_max_times(self.settings.times)
            .build()
    }
}

impl Policy for Retry {
    async fn around<'a, T, F>(&'a self, call: Call<'a>, act: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let mut pauses = self.pauses();
        loop {
            let error = match act().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let pause = pauses.next().filter(|_| may_help(&call, &error));
            match pause.filter(|pause| fits(&call, *pause)) {
                Some(pause) => tokio::select! {
                    biased;
                    () = call.cx.cancel.cancelled() => return Err(error),
                    () = tokio::time::sleep(pause) => {}
                },
                None => return Err(error),
            }
        }
    }
}

fn may_help(call: &Call<'_>, error: &Error) -> bool {
    call.operation.is_repeatable() && error.is_temporary() && error.kind() != ErrorKind::Timeout
}

fn fits(call: &Call<'_>, pause: Duration) -> bool {
    call.cx.deadline.is_none_or(|at| Instant::now() + pause < at)
}
