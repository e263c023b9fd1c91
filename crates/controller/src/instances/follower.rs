//! One runtime, followed while somebody reads: subscribe, list, join; again when the engine comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hythe_runtime::{Cursor, Error, Event, EventStream, Filter, OpContext, Runtime};
use tokio_util::sync::CancellationToken;

use super::details;
use super::inventory::Inventory;
use crate::Runtimes;

const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A stream that lasted so long is worth another look at once.
const STEADY: Duration = Duration::from_secs(1);
/// How long the first reader waits for more than what a list says.
pub(super) const DETAILS: Duration = Duration::from_secs(3);
/// Events taken together, so that an engine is asked once about an instance to which much happened.
const TOGETHER: usize = 64;

pub(super) struct Follower {
    pub(super) name: String,
    pub(super) runtimes: Arc<Runtimes>,
    pub(super) inventory: Arc<Inventory>,
}

impl Follower {
    pub(super) async fn run(self, done: CancellationToken) {
        tokio::select! {
            biased;
            () = done.cancelled() => {}
            () = self.follow() => {}
        }
    }

    /// Never ends: connecting is the business of the controller's own watchers, and this waits for them.
    async fn follow(&self) {
        let mut wait = FIRST_WAIT;
        loop {
            let reason = match self.look().await {
                Ok((runtime, stream, ids)) => {
                    wait = FIRST_WAIT;
                    let begun = Instant::now();
                    let reason = self.read(&runtime, stream, ids).await;
                    if begun.elapsed() > STEADY {
                        // An ended stream is no dead engine: the next look tells.
                        continue;
                    }
                    reason
                }
                Err(error) => self.runtimes.reason(&self.name).unwrap_or_else(|| error.message().to_owned()),
            };
            let mut changed = self.runtimes.changed();
            self.inventory.lost(&self.name, &reason);
            tokio::select! {
                biased;
                () = tokio::time::sleep(wait) => {}
                _ = changed.changed() => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Subscribes first, then lists, so that nothing falls between.
    async fn look(&self) -> Result<(Arc<dyn Runtime>, EventStream, Vec<String>), Error> {
        let runtime = self.runtimes.get(&self.name)?;
        let cx = OpContext::new(format!("instances of {}", self.name));
        let stream = runtime.watch(&cx, Cursor::START).await?;
        let rows = runtime.list(&cx, &Filter::default()).await?;
        let ids = self.inventory.listed(&self.name, rows);
        Ok((runtime, stream, ids))
    }

    /// Reads until the stream ends; why it did.
    async fn read(&self, runtime: &Arc<dyn Runtime>, stream: EventStream, ids: Vec<String>) -> String {
        let mut events = stream.ready_chunks(TOGETHER);
        let mut details = details::patiently(runtime, ids);
        let mut changed = self.runtimes.changed();
        let limit = tokio::time::sleep(DETAILS);
        tokio::pin!(limit);
        let (mut asking, mut waiting) = (true, true);
        loop {
            tokio::select! {
                biased;
                // A frozen engine ends no stream; whoever notices tells it there.
                _ = changed.changed() => if let Some(reason) = self.runtimes.reason(&self.name) { return reason },
                () = &mut limit, if waiting => {
                    waiting = false;
                    self.inventory.settle(&self.name);
                }
                chunk = events.next() => match chunk {
                    Some(chunk) => if let Err(reason) = self.take(runtime, chunk).await { return reason },
                    None => return "its event stream ended".to_owned(),
                },
                seen = details.next(), if asking => match seen {
                    Some(seen) => self.inventory.detailed(&self.name, &seen),
                    None => {
                        asking = false;
                        self.inventory.settle(&self.name);
                    }
                },
            }
        }
    }

    /// Takes events in order, with what the engine says by now of those it must be asked about.
    async fn take(&self, runtime: &Arc<dyn Runtime>, chunk: Vec<Result<Event, Error>>) -> Result<(), String> {
        let events = chunk.iter().filter_map(|event| event.as_ref().ok());
        let wanted: BTreeSet<String> = events
            .filter(|event| self.inventory.wants_detail(&self.name, event))
            .map(|event| event.id.0.clone())
            .collect();
        let seen: BTreeMap<_, _> = details::once(runtime, wanted.into_iter().collect()).await.into_iter().collect();
        for event in chunk {
            let event = event.map_err(|error| error.message().to_owned())?;
            self.inventory.event(&self.name, &event, seen.get(&event.id.0));
        }
        Ok(())
    }
}
