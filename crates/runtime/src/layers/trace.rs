//! One span per call, and how it ended.

use std::time::Instant;

use futures_util::future::BoxFuture;
use tracing::Instrument;

use super::{Call, Policy};
use crate::{InstanceRef, Result};

/// Says what was asked of which runtime, how long it took and, on an error, its kind. An error is not logged here but where it ends.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trace;

impl Policy for Trace {
    async fn around<'a, T, F>(&'a self, call: Call<'a>, act: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let span = tracing::debug_span!(
            "runtime",
            runtime = call.info.name,
            operation = call.operation.name(),
            instance =
                call.instance.map(InstanceRef::as_str).or(call.plan.map(|plan| plan.identity.component.as_str())),
            request = call.cx.request,
        );
        let began = Instant::now();
        let outcome = act().instrument(span.clone()).await;
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let error = outcome.as_ref().err().map(|error| error.kind().as_str());
        span.in_scope(|| tracing::debug!(millis, error, "done"));
        outcome
    }
}
