//! Asking engines about single instances, some at a time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use hythe_runtime::{Error, InstanceId, Observed, OpContext, Runtime};

/// Instances asked about at once.
const AT_ONCE: usize = 4;
/// Questions about one instance until it is left at what the list says.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(2);

/// What the engine says of each, in any order; one that is gone or about which it cannot be asked is left out.
pub(super) fn patiently(runtime: &Arc<dyn Runtime>, ids: Vec<String>) -> BoxStream<'static, Observed> {
    let runtime = runtime.clone();
    let asked = stream::iter(ids).map(move |id| {
        let runtime = runtime.clone();
        async move { insist(runtime.as_ref(), id).await }
    });
    asked.buffer_unordered(AT_ONCE).filter_map(std::future::ready).boxed()
}

async fn insist(runtime: &dyn Runtime, id: String) -> Option<Observed> {
    for attempt in 1..=TRIES {
        match inspect(runtime, &id).await {
            Ok(seen) => return Some(seen),
            Err(error) if error.is_not_found() => return None,
            Err(error) => tracing::debug!(id, attempt, %error, "an instance cannot be looked at"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    None
}

/// Each with the engine's answer.
pub(super) async fn once(runtime: &Arc<dyn Runtime>, ids: Vec<String>) -> Vec<(String, Result<Observed, Error>)> {
    let asked = stream::iter(ids).map(|id| async {
        let seen = inspect(runtime.as_ref(), &id).await;
        (id, seen)
    });
    asked.buffer_unordered(AT_ONCE).collect().await
}

async fn inspect(runtime: &dyn Runtime, id: &str) -> Result<Observed, Error> {
    runtime.inspect(&OpContext::new("instances"), &InstanceId(id.to_owned())).await
}
