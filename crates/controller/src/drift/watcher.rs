//! Decides when which workload is compared, and reports when its differences have changed.
//!
//! One comparison at a time. A round every interval asks each runtime for its list of instances and of images, and has compared
//! what changed there, what differed before, and a few more in turn, because a list does not show everything. A workload
//! is compared soon after its engine reports an event of it.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use hythe_runtime::{Filter, Image, Listed, OpContext};
use hythe_spec::vocabulary::{DriftCause, EventKind};
use hythe_store::{Desired, EventFilter, NewEvent, Phase, Transaction};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::heal::{Healing, fields};
use super::inspect::{Inspection, Shared};
use crate::Controller;
use crate::event::workload_event;
use crate::message::Message;
use crate::model::{Difference, WorkloadState};
use crate::registry::WorkloadHandle;

/// One out-of-band change causes several events, and the workload's own task acts on them first.
const DEBOUNCE: Duration = Duration::from_secs(1);
/// Between two comparisons of a round, so that many cost no burst.
const PACE: Duration = Duration::from_millis(200);
/// Compared in every round although their list shows nothing new.
const PER_ROUND: usize = 2;
/// Events of a workload in which the last one about drift is looked for.
const HISTORY: u32 = 100;
/// Events after which a workload is compared.
const CHANGE_EVENTS: [EventKind; 4] = [EventKind::Updated, EventKind::Paused, EventKind::Started, EventKind::Created];

/// What is remembered of a workload.
#[derive(Debug)]
struct Known {
    /// The differences in the last event, as JSON.
    reported: Value,
    /// What lists showed of it last.
    shown: u64,
    looked: Instant,
}

/// The task that watches for drift.
#[derive(Debug)]
pub(crate) struct Watcher {
    controller: Arc<Controller>,
    known: BTreeMap<String, Known>,
    healing: Healing,
    /// To be compared because of an event.
    urgent: VecDeque<String>,
    /// To be compared because a round chose them.
    queue: VecDeque<String>,
    /// What this round asked of the engines already, and since when.
    asked: (Timestamp, Arc<Shared>),
    /// The newest event that was read.
    cursor: u64,
}

impl Watcher {
    /// Begins with what happens from now on.
    pub(crate) fn new(controller: Arc<Controller>) -> Self {
        let cursor = controller.events.bounds().map_or(0, |(_, newest)| newest);
        let asked = (controller.now(), Arc::default());
        Self {
            controller,
            known: BTreeMap::new(),
            healing: Healing::default(),
            urgent: VecDeque::new(),
            queue: VecDeque::new(),
            asked,
            cursor,
        }
    }

    /// Watches as long as the controller lives.
    pub(crate) async fn run(mut self, every: Duration) {
        let mut events = self.controller.events.listen();
        let mut rounds = interval_at(Instant::now() + every, every);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut soon: Option<Instant> = None;
        let mut next = Instant::now();
        loop {
            tokio::select! {
                biased;
                news = events.recv(), if soon.is_none() => match news {
                    Ok(_) | Err(RecvError::Lagged(_)) => soon = Some(Instant::now() + DEBOUNCE),
                    Err(RecvError::Closed) => return,
                },
                () = until(soon) => {
                    soon = None;
                    self.read_news();
                    next = Instant::now();
                }
                _ = rounds.tick() => self.round().await,
                () = sleep_until(next), if !(self.urgent.is_empty() && self.queue.is_empty()) => {
                    self.compare_next().await;
                    next = Instant::now() + PACE;
                }
            }
        }
    }

    /// Workloads with an event come first.
    fn read_news(&mut self) {
        let filter = EventFilter { after: self.cursor, ..EventFilter::default() };
        let Ok(events) = self.controller.events.read(&filter) else {
            return;
        };
        for record in events {
            self.cursor = self.cursor.max(record.cursor);
            let event = record.event;
            if let Some(name) = event.workload.filter(|_| CHANGE_EVENTS.iter().any(|kind| event.kind == *kind)) {
                self.queue.retain(|queued| *queued != name);
                self.urgent.retain(|queued| *queued != name);
                self.urgent.push_back(name);
            }
        }
    }

    /// Queues what seems changed, what differed, and a few in turn.
    async fn round(&mut self) {
        let states: Vec<WorkloadState> = self.controller.workloads().into_iter().filter(is_watched).collect();
        let begun = (self.controller.now(), Arc::default());
        let earlier = std::mem::replace(&mut self.asked, begun).1;
        let is_known = |name: &str| self.controller.registry.get(name).is_some();
        self.known.retain(|name, _| is_known(name));
        self.healing.retain(is_known);
        for runtime in self.controller.runtimes.names() {
            let placed: Vec<&WorkloadState> = states.iter().filter(|state| is_on(state, &runtime)).collect();
            if placed.is_empty() {
                continue;
            }
            let Some(shown) = self.shown(&runtime, &placed, &earlier).await else {
                continue;
            };
            self.choose(&shown);
        }
    }

    /// What the lists of a runtime show of each workload; `None` where it does not answer.
    async fn shown(&self, name: &str, states: &[&WorkloadState], earlier: &Shared) -> Option<BTreeMap<String, u64>> {
        let runtime = self.controller.runtimes.get(name).ok()?;
        let cx = OpContext::new("drift");
        let rows = runtime.list(&cx, &Filter::owned_by(self.controller.owner())).await.ok()?;
        let images = match runtime.images() {
            Some(images) => images.list(&cx).await.unwrap_or_default(),
            None => Vec::new(),
        };
        let shown = states.iter().map(|state| (state.desired.name.clone(), signature(state, &rows, &images))).collect();
        self.asked.1.learn(name, rows, &images, earlier);
        Some(shown)
    }

    fn choose(&mut self, shown: &BTreeMap<String, u64>) {
        let mut quiet = Vec::new();
        for (name, shown) in shown {
            match self.known.get_mut(name) {
                Some(known) if known.shown == *shown && differs_in_nothing(&known.reported) => {
                    quiet.push((known.looked, name.clone()));
                }
                known => {
                    if let Some(known) = known {
                        known.shown = *shown;
                    }
                    self.queue_up(name.clone());
                }
            }
        }
        quiet.sort();
        quiet.into_iter().take(PER_ROUND).for_each(|(_, name)| self.queue_up(name));
    }

    fn queue_up(&mut self, name: String) {
        if !self.queue.contains(&name) {
            self.queue.push_back(name);
        }
    }

    async fn compare_next(&mut self) {
        if let Some(name) = self.urgent.pop_front() {
            self.compare(&name, Arc::default()).await;
        } else if let Some(name) = self.queue.pop_front() {
            let (since, shared) = self.asked.clone();
            let older = self.controller.workload(&name).is_ok_and(|state| state.observed.updated < since);
            self.compare(&name, if older { shared } else { Arc::default() }).await;
        }
    }

    /// Compares one workload and reports what has changed.
    async fn compare(&mut self, name: &str, shared: Arc<Shared>) {
        let Some(handle) = self.controller.registry.get(name) else {
            return;
        };
        let state = handle.read();
        let watched = is_watched(&state);
        let found = if watched { Inspection::new(&self.controller, shared).at(&state).await } else { Vec::new() };
        // Its own task acts: what it does is no drift, and the next round compares again.
        let busy = self.controller.snapshots.is_frozen(name) || handle.read() != state;
        let unclear = busy || found.iter().any(|difference| difference.cause == DriftCause::Unreachable);
        if !watched || unclear {
            if let Some(known) = self.known.get_mut(name) {
                known.shown = 0;
            }
            return;
        }
        let found: Vec<Difference> = found.into_iter().filter(is_drift).collect();
        let reported = self.known.get(name).map_or_else(|| self.last_reported(name), |known| known.reported.clone());
        let now = json!(found);
        if now != reported {
            self.report(&state, &found);
        }
        let due = self.healing.due(&state, &found);
        if !due.is_empty() {
            self.controller.heal(name, &due);
        }
        if found.iter().any(ended_unnoticed) {
            self.list_again(&handle, &state).await;
        }
        let shown = self.known.get(name).map_or(0, |known| known.shown);
        self.known.insert(name.to_owned(), Known { reported: now, shown, looked: Instant::now() });
    }

    /// Its task is told what the engine has of it: the engine's event was lost, and the restart policy waits for one.
    async fn list_again(&self, handle: &WorkloadHandle, state: &WorkloadState) {
        let Some(runtime) = state.observed.current.as_ref().map(|current| &current.runtime) else { return };
        let Ok(runtime) = self.controller.runtimes.get(runtime) else { return };
        let filter = Filter::owned_by(self.controller.owner());
        let Ok(mut rows) = runtime.list(&OpContext::new("drift"), &filter).await else { return };
        let name = &state.desired.name;
        rows.retain(|row| row.identity.as_ref().is_some_and(|found| found.workload() == *name));
        handle.send(Message::Listed(rows));
    }

    /// The differences in the last event before this agent started. A workload's own task reports drift without its end.
    fn last_reported(&self, name: &str) -> Value {
        let filter = EventFilter { workload: Some(name.to_owned()), limit: Some(HISTORY), ..EventFilter::default() };
        let events = self.controller.events.read(&filter).unwrap_or_default();
        let own = |event: &NewEvent| event.kind == EventKind::Drift && event.details.get("cleared").is_some();
        let last = events.iter().rev().find(|record| own(&record.event));
        last.and_then(|record| record.event.details.get("differences").cloned()).unwrap_or_else(|| json!([]))
    }

    fn report(&self, state: &WorkloadState, found: &[Difference]) {
        let message = match found {
            [] => "is as desired again".to_owned(),
            found => format!("differs from what is desired: {}", fields(found)),
        };
        let instance = state.observed.current.as_ref().map(|current| &current.name);
        let details = json!({ "instance": instance, "differences": found, "cleared": found.is_empty() });
        let event = workload_event(self.controller.now(), &state.desired, EventKind::Drift, message, details);
        if let Err(error) =
            self.controller.events.commit(&Transaction { events: vec![event], ..Transaction::default() })
        {
            tracing::warn!(workload = state.desired.name, %error, "a drift event was not stored");
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// It should run and, as far as is known, does.
fn is_watched(state: &WorkloadState) -> bool {
    state.desired.desired == Desired::Running && matches!(state.observed.phase, Phase::Running | Phase::Paused)
}

fn is_on(state: &WorkloadState, runtime: &str) -> bool {
    state.observed.current.as_ref().is_some_and(|current| current.runtime == runtime)
}

/// What the agent itself did or is about to do has events of its own.
fn is_drift(difference: &Difference) -> bool {
    !matches!(difference.cause, DriftCause::Pending | DriftCause::RolledBack | DriftCause::Unreachable)
}

/// It should run, its task believes that it does, and it has ended or is gone.
fn ended_unnoticed(difference: &Difference) -> bool {
    difference.field == "state" && matches!(difference.cause, DriftCause::Stopped | DriftCause::Missing)
}

fn differs_in_nothing(reported: &Value) -> bool {
    reported.as_array().is_none_or(Vec::is_empty)
}

/// Everything that lists show of a workload: its instances, and the image its image's name means.
fn signature(state: &WorkloadState, rows: &[Listed], images: &[Image]) -> u64 {
    let mut hasher = DefaultHasher::new();
    let own = |row: &&Listed| row.identity.as_ref().is_some_and(|found| found.workload() == state.desired.name);
    for row in rows.iter().filter(own) {
        serde_json::to_string(row).unwrap_or_default().hash(&mut hasher);
    }
    let spec = state.observed.current.as_ref().map_or(&state.desired.spec, |current| &current.spec);
    let name = spec.component.image.to_string();
    let named = images.iter().find(|image| image.tags.contains(&name) || image.digests.contains(&name));
    named.map(|image| &image.id).hash(&mut hasher);
    hasher.finish()
}
