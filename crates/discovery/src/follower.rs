//! One runtime, followed while somebody reads: subscribe, list, join; again when the runtime comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hythe_runtime::{Cursor, Error, Event, EventKind, EventStream, Filter, OpContext, Runtime};
use tokio_util::sync::CancellationToken;

use crate::RuntimeSource;
use crate::cache::Cache;
use crate::inspect::{inspect_all, inspect_each_once};

const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A stream that lasted so long is opened again at once.
const STEADY: Duration = Duration::from_secs(1);
/// How long the first reader waits for inspections.
pub(crate) const INSPECTIONS: Duration = Duration::from_secs(3);
/// Events applied together, so that an instance to which much happened is inspected once.
const TOGETHER: usize = 64;

pub(crate) struct RuntimeFollower {
    pub(crate) name: String,
    pub(crate) runtimes: Arc<dyn RuntimeSource>,
    pub(crate) cache: Arc<Cache>,
}

impl RuntimeFollower {
    pub(crate) async fn run(self, done: CancellationToken) {
        tokio::select! {
            biased;
            () = done.cancelled() => {}
            () = self.follow() => {}
        }
    }

    /// Never ends. It connects nothing: whoever owns the connections does, and this waits for that.
    async fn follow(&self) {
        let mut wait = FIRST_WAIT;
        loop {
            let reason = match self.subscribe_and_list().await {
                Ok((runtime, stream, ids)) => {
                    wait = FIRST_WAIT;
                    let begun = Instant::now();
                    let reason = self.read(&runtime, stream, ids).await;
                    if begun.elapsed() > STEADY {
                        // An ended stream is no dead engine: the next list shows.
                        continue;
                    }
                    reason
                }
                Err(error) => self.runtimes.reason(&self.name).unwrap_or_else(|| error.message().to_owned()),
            };
            let mut changed = self.runtimes.changed();
            self.cache.disconnected(&self.name, &reason);
            tokio::select! {
                biased;
                () = tokio::time::sleep(wait) => {}
                _ = changed.changed() => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Subscribes first, then lists, so that nothing falls between.
    async fn subscribe_and_list(&self) -> Result<(Arc<dyn Runtime>, EventStream, Vec<String>), Error> {
        let runtime = self.runtimes.get(&self.name)?;
        let cx = OpContext::new(format!("discovery of {}", self.name));
        let stream = runtime.watch(&cx, Cursor::START).await?;
        let rows = runtime.list(&cx, &Filter::default()).await?;
        let ids = self.cache.apply_list(&self.name, rows);
        Ok((runtime, stream, ids))
    }

    /// Reads until the stream ends; why it did.
    async fn read(&self, runtime: &Arc<dyn Runtime>, stream: EventStream, ids: Vec<String>) -> String {
        let mut events = stream.ready_chunks(TOGETHER);
        let mut inspections = inspect_all(runtime, ids);
        let mut changed = self.runtimes.changed();
        let limit = tokio::time::sleep(INSPECTIONS);
        tokio::pin!(limit);
        let (mut inspecting, mut waiting) = (true, true);
        loop {
            tokio::select! {
                biased;
                // A frozen engine ends no stream; whoever notices reports it there.
                _ = changed.changed() => if let Some(reason) = self.runtimes.reason(&self.name) { return reason },
                () = &mut limit, if waiting => {
                    waiting = false;
                    self.cache.mark_listed(&self.name);
                }
                chunk = events.next() => match chunk {
                    Some(chunk) => if let Err(reason) = self.apply(runtime, chunk).await { return reason },
                    None => return "its event stream ended".to_owned(),
                },
                seen = inspections.next(), if inspecting => match seen {
                    Some(seen) => self.cache.apply_inspected(&self.name, &seen),
                    None => {
                        inspecting = false;
                        self.cache.mark_listed(&self.name);
                    }
                },
            }
        }
    }

    /// Applies events in order, each with the inspection of its instance where one is needed.
    async fn apply(&self, runtime: &Arc<dyn Runtime>, chunk: Vec<Result<Event, Error>>) -> Result<(), String> {
        let events = chunk.iter().filter_map(|event| event.as_ref().ok());
        if events.clone().any(|event| event.kind == EventKind::Gap) {
            return Err("some of its events are lost".to_owned());
        }
        let wanted: BTreeSet<String> = events
            .filter(|event| self.cache.needs_inspect(&self.name, event))
            .map(|event| event.id.0.clone())
            .collect();
        let seen: BTreeMap<_, _> = inspect_each_once(runtime, wanted.into_iter().collect()).await.into_iter().collect();
        for event in chunk {
            let event = event.map_err(|error| error.message().to_owned())?;
            self.cache.apply_event(&self.name, &event, seen.get(&event.id.0));
        }
        Ok(())
    }
}
