//! One watcher per runtime: subscribe, list, join; reconnect with back-off when the engine goes away.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures_util::StreamExt;
use hythe_runtime::{
    Cursor, Error, ErrorKind, Event, EventKind, EventStream, Filter, Identity, InstanceId, Listed, OpContext, Runtime,
};
use hythe_store::{EventFilter, EventRecord, NewEvent, Transaction};
use jiff::Timestamp;
use serde_json::json;
use tokio::time::{Duration, Instant};

use crate::Controller;
use crate::event::runtime_event;
use crate::worker::{Message, is_same};

const FIRST_WAIT: Duration = Duration::from_millis(250);
/// A stream that lasted so long is worth another look at once.
const STEADY: Duration = Duration::from_secs(1);
/// Between two looks at what was forgotten and is there all the same.
const SECOND_LOOK: Duration = Duration::from_secs(10);
/// Time that an instance has to end by itself which came after its workload was forgotten.
const LATE_GRACE: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

pub(crate) struct Watcher {
    controller: Arc<Controller>,
    name: String,
    /// It has answered before, so that losing it is news.
    known: bool,
    lost: bool,
    told: Told,
}

/// What was told of late: an engine may repeat events around the place where a stream is resumed.
#[derive(Debug, Default)]
struct Told(VecDeque<(Timestamp, String, String)>);

/// More than an engine repeats.
const REMEMBERED: u32 = 512;

impl Told {
    fn load(events: Vec<EventRecord>) -> Self {
        let key = |record: EventRecord| key_of(&record.event);
        Self(events.into_iter().map(key).collect())
    }

    /// Whether it is new; from now on it is not.
    fn is_new(&mut self, event: &NewEvent) -> bool {
        let key = key_of(event);
        if self.0.contains(&key) {
            return false;
        }
        if self.0.len() >= REMEMBERED as usize {
            self.0.pop_front();
        }
        self.0.push_back(key);
        true
    }
}

fn key_of(event: &NewEvent) -> (Timestamp, String, String) {
    (event.time, event.kind.clone(), event.details["instance"].as_str().unwrap_or_default().to_owned())
}

impl Watcher {
    pub(crate) fn new(controller: Arc<Controller>, name: String) -> Self {
        Self { controller, name, known: false, lost: false, told: Told::default() }
    }

    pub(crate) async fn run(mut self) {
        let mut wait = FIRST_WAIT;
        loop {
            let reason = match self.connect().await {
                Ok(stream) => {
                    wait = FIRST_WAIT;
                    let begun = Instant::now();
                    let reason = self.follow(stream).await;
                    // An ended stream is no dead engine (some end it when their log is rotated): the next look tells.
                    if begun.elapsed() > STEADY {
                        tracing::debug!(runtime = self.name, reason, "its events are subscribed to anew");
                        continue;
                    }
                    reason
                }
                Err(error) => error.message().to_owned(),
            };
            self.report_lost(&reason);
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Subscribes first, then lists, so that nothing falls between; the workloads compare both with what they know.
    async fn connect(&mut self) -> Result<EventStream, Error> {
        let runtime = self.controller.runtimes.connect(&self.name).await?;
        let cx = OpContext::new(format!("watch {}", self.name));
        let from = self.controller.store.cursor(&self.name).map_err(crate::store_error)?;
        let recent = EventFilter { limit: Some(REMEMBERED), ..EventFilter::default() };
        self.told = Told::load(self.controller.events.read(&recent)?);
        let stream = runtime.watch(&cx, Cursor(from)).await?;
        let rows = runtime.list(&cx, &Filter::owned_by(self.controller.owner())).await?;
        let by_workload = self.read_back(&runtime, rows).await?;
        if !self.controller.runtimes.ready(&self.name) {
            return Err(Error::new(ErrorKind::Unavailable, "connect", "its engine is reached as another runtime"));
        }
        if self.lost {
            self.tell(runtime_event(&self.name, "runtime.reconnected", "the runtime answers again"));
        }
        (self.known, self.lost) = (true, false);
        self.hand_out(by_workload);
        Ok(stream)
    }

    /// What the engine has of each workload; those that the store does not know are read back first, or nothing may be decided.
    async fn read_back(
        &self,
        runtime: &Arc<dyn Runtime>,
        rows: Vec<Listed>,
    ) -> Result<BTreeMap<String, Vec<Listed>>, Error> {
        let mut by_workload: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
        for row in rows {
            if let Some(identity) = &row.identity {
                by_workload.entry(identity.workload()).or_default().push(row);
            }
        }
        for (workload, rows) in &by_workload {
            if self.controller.directory.get(workload).is_none() {
                let (forgotten, rows): (Vec<&Listed>, Vec<&Listed>) = rows.iter().partition(|row| {
                    row.identity.as_ref().is_some_and(|identity| self.controller.was_forgotten(identity))
                });
                for row in forgotten {
                    if let Some(identity) = &row.identity {
                        self.came_late(identity.clone(), row.id.clone());
                    }
                }
                crate::rebuild::rebuild(&self.controller, runtime, &self.name, &rows).await?;
            }
            self.controller.overtake(workload, rows)?;
        }
        Ok(by_workload)
    }

    fn hand_out(&self, mut by_workload: BTreeMap<String, Vec<Listed>>) {
        for handle in self.controller.directory.all() {
            let (name, placed) = {
                let cell = handle.cell.borrow();
                (cell.desired.name.clone(), cell.desired.placement.runtime.clone())
            };
            if placed == self.name {
                handle.send(Message::Listed(by_workload.remove(&name).unwrap_or_default()));
            }
        }
    }

    /// Hands events out until the stream ends; returns why it did.
    async fn follow(&mut self, mut stream: EventStream) -> String {
        while let Some(event) = stream.next().await {
            match event {
                Ok(event) => self.hand_on(event),
                Err(error) => return error.message().to_owned(),
            }
        }
        "its event stream ended".to_owned()
    }

    fn hand_on(&mut self, event: Event) {
        let ours = event.identity.as_ref().is_none_or(|identity| identity.owner == self.controller.owner());
        let handle = if ours { self.find(&event) } else { None };
        let Some((handle, workload, service)) = handle else {
            let came = matches!(event.kind, EventKind::Created | EventKind::Started);
            if let Some(identity) =
                event.identity.filter(|identity| ours && came && self.controller.was_forgotten(identity))
            {
                self.came_late(identity, event.id);
            }
            return;
        };
        let told = public_event(&event, &self.name, &workload, &service);
        if told.as_ref().is_some_and(|told| !self.told.is_new(told)) {
            return;
        }
        let place = event.cursor.0.clone().map(|cursor| (self.name.clone(), cursor));
        self.commit(Transaction { events: told.into_iter().collect(), cursor: place, ..Transaction::default() });
        handle.send(Message::Engine(event));
    }

    /// An engine may finish making what was undeployed meanwhile: it goes, once a second look some time later finds it still there and still unwanted.
    fn came_late(&self, identity: Identity, id: InstanceId) {
        let (controller, name) = (self.controller.clone(), self.name.clone());
        let task = async move {
            tokio::time::sleep(SECOND_LOOK).await;
            let Ok(runtime) = controller.runtimes.get(&name) else { return };
            let there = runtime.inspect(&OpContext::new("second look"), &id).await.is_ok();
            if !there || !controller.was_forgotten(&identity) {
                return;
            }
            if let Err(error) = controller.discard(&runtime, &id, LATE_GRACE).await {
                tracing::warn!(instance = %id, %error, "what came too late was not removed yet");
            }
        };
        self.controller.spawn(task);
    }

    /// The workload an event is about: by its labels, else by the instances that workloads know.
    fn find(&self, event: &Event) -> Option<(crate::directory::Handle, String, String)> {
        let named = event.identity.as_ref().and_then(|identity| self.controller.directory.get(&identity.workload()));
        let handle = named.or_else(|| {
            self.controller.directory.find(|cell| {
                let mut instances = cell.observed.current.iter().chain(&cell.observed.previous);
                instances.any(|instance| {
                    instance.runtime == self.name && is_same(instance, &event.id, event.name.as_deref())
                })
            })
        })?;
        let cell = handle.read();
        Some((handle, cell.desired.name, cell.desired.service))
    }

    fn report_lost(&mut self, reason: &str) {
        self.controller.runtimes.lost(&self.name, reason);
        let mut placed = self.controller.directory.all();
        placed.retain(|handle| handle.cell.borrow().desired.placement.runtime == self.name);
        // One that has never answered is news only to workloads that are placed on it.
        if !self.lost && (self.known || !placed.is_empty()) {
            self.tell(runtime_event(&self.name, "runtime.disconnected", reason));
            for handle in placed {
                handle.send(Message::Lost(reason.to_owned()));
            }
            self.lost = true;
        }
    }

    fn tell(&self, event: NewEvent) {
        self.commit(Transaction { events: vec![event], ..Transaction::default() });
    }

    fn commit(&self, changes: Transaction) {
        if let Err(error) = self.controller.events.commit(&changes) {
            tracing::warn!(runtime = self.name, %error, "an event was not stored");
        }
    }
}

/// The event as the stream shows it; what the workload's own task tells better is left to it.
fn public_event(event: &Event, runtime: &str, workload: &str, service: &str) -> Option<NewEvent> {
    let (kind, message, details) = match &event.kind {
        EventKind::Created => ("created", "created".to_owned(), json!({})),
        EventKind::Started => ("started", "started".to_owned(), json!({})),
        EventKind::Stopped { exit } => {
            ("exited", format!("its process ended with {}", exit.code), json!({ "code": exit.code }))
        }
        EventKind::Signalled { signal } => ("signalled", format!("was sent {signal}"), json!({ "signal": signal })),
        EventKind::OutOfMemory => ("oom", "ran out of memory".to_owned(), json!({})),
        EventKind::Updated { what } => ("updated", format!("changed: {what}"), json!({ "what": what })),
        EventKind::Removed | EventKind::Paused | EventKind::Unpaused | EventKind::Image { .. } => {
            return None;
        }
    };
    let mut details = details;
    details["instance"] = json!(event.name.as_deref().unwrap_or(&event.id.0));
    Some(NewEvent {
        time: event.time,
        runtime: Some(runtime.to_owned()),
        service: Some(service.to_owned()),
        workload: Some(workload.to_owned()),
        kind: kind.to_owned(),
        message,
        details,
    })
}
