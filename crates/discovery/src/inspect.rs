//! Inspecting single instances, a few at a time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use hythe_runtime::{Error, InstanceRef, Observed, OpContext, Runtime};

/// Inspections at once.
const AT_ONCE: usize = 4;
/// Inspections of one instance before it is left at what the list says.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(2);

/// Inspects each, in any order; one that is gone or cannot be inspected is left out.
pub(crate) fn inspect_all(runtime: &Arc<dyn Runtime>, ids: Vec<String>) -> BoxStream<'static, Observed> {
    let runtime = runtime.clone();
    let asked = stream::iter(ids).map(move |id| {
        let runtime = runtime.clone();
        async move { inspect_with_retry(runtime.as_ref(), id).await }
    });
    asked.buffer_unordered(AT_ONCE).filter_map(std::future::ready).boxed()
}

async fn inspect_with_retry(runtime: &dyn Runtime, id: String) -> Option<Observed> {
    for attempt in 1..=TRIES {
        match inspect(runtime, &id).await {
            Ok(seen) => return Some(seen),
            Err(error) if error.is_not_found() => return None,
            Err(error) => tracing::debug!(id, attempt, %error, "an instance cannot be inspected"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    None
}

/// Inspects each once.
pub(crate) async fn inspect_each_once(
    runtime: &Arc<dyn Runtime>,
    ids: Vec<String>,
) -> Vec<(String, Result<Observed, Error>)> {
    let asked = stream::iter(ids).map(|id| async {
        let seen = inspect(runtime.as_ref(), &id).await;
        (id, seen)
    });
    asked.buffer_unordered(AT_ONCE).collect().await
}

async fn inspect(runtime: &dyn Runtime, id: &str) -> Result<Observed, Error> {
    runtime.inspect(&OpContext::new("discovery"), &InstanceRef::id(id)).await
}
