//! One watcher per runtime: subscribe, list, join; reconnect with back-off when the engine goes away.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures_util::StreamExt;
use hythe_runtime::{
    Cursor, Error, ErrorKind, Event, EventKind as EngineEventKind, EventStream, Filter, Identity, InstanceId, Listed,
    OpContext, Runtime,
};
use hythe_spec::vocabulary::{EventKind, OpenEnum};
use hythe_store::{EventFilter, EventRecord, NewEvent, Transaction};
use jiff::Timestamp;
use serde_json::json;
use tokio::time::{Duration, Instant};

use crate::Controller;
use crate::event::runtime_event;
use crate::message::Message;
use crate::model::is_same;

const FIRST_WAIT: Duration = Duration::from_millis(250);
/// A stream that lasted so long is worth another look at once.
const STEADY: Duration = Duration::from_secs(1);
/// Time before the second scan for an instance of an undeployed workload.
const SECOND_SCAN: Duration = Duration::from_secs(10);
/// Stop grace of an instance that was created after its workload was undeployed.
const LATE_GRACE: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

pub(crate) struct Watcher {
    controller: Arc<Controller>,
    name: String,
    /// It has answered before, so that losing it is news.
    known: bool,
    lost: bool,
    reported: Reported,
}

/// When, what, and to which instance.
type Key = (Timestamp, OpenEnum<EventKind>, String);

/// Events that were reported recently: an engine may repeat some where a stream is resumed.
#[derive(Debug, Default)]
struct Reported(VecDeque<Key>);

/// More than an engine repeats.
const REMEMBERED: u32 = 512;

impl Reported {
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

fn key_of(event: &NewEvent) -> Key {
    (event.time, event.kind.clone(), event.details["instance"].as_str().unwrap_or_default().to_owned())
}

impl Watcher {
    pub(crate) fn new(controller: Arc<Controller>, name: String) -> Self {
        Self { controller, name, known: false, lost: false, reported: Reported::default() }
    }

    pub(crate) async fn run(mut self) {
        let mut wait = FIRST_WAIT;
        loop {
            let reason = match self.connect().await {
                Ok(stream) => {
                    wait = FIRST_WAIT;
                    let begun = Instant::now();
                    let reason = self.follow(stream).await;
                    // An ended stream is no dead engine (some end it when their log is rotated): the next connect shows.
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
        self.reported = Reported::load(self.controller.events.read(&recent)?);
        let stream = runtime.watch(&cx, Cursor(from)).await?;
        let by_workload = self.list(&runtime).await?;
        if !self.controller.runtimes.ready(&self.name) {
            return Err(Error::new(ErrorKind::Unavailable, "connect", "its engine is reached as another runtime"));
        }
        if self.lost {
            self.report(runtime_event(
                self.controller.now(),
                &self.name,
                EventKind::RuntimeReconnected,
                "the runtime answers again",
            ));
        }
        (self.known, self.lost) = (true, false);
        self.hand_out(by_workload);
        Ok(stream)
    }

    async fn list(&self, runtime: &Arc<dyn Runtime>) -> Result<BTreeMap<String, Vec<Listed>>, Error> {
        let cx = OpContext::new(format!("watch {}", self.name));
        let rows = runtime.list(&cx, &Filter::owned_by(self.controller.owner())).await?;
        self.adopt_unknown(runtime, rows).await
    }

    /// Events were lost: the instances are listed again, and `runtime.gap` is reported.
    async fn close_gap(&mut self, gap: &Event) -> Result<(), Error> {
        let runtime = self.controller.runtimes.get(&self.name)?;
        let by_workload = self.list(&runtime).await?;
        let words = "events of the runtime are lost; its instances were listed again";
        let event = runtime_event(gap.time, &self.name, EventKind::RuntimeGap, words);
        let place = gap.cursor.0.clone().map(|cursor| (self.name.clone(), cursor));
        self.commit(Transaction { events: vec![event], cursor: place, ..Transaction::default() });
        self.hand_out(by_workload);
        Ok(())
    }

    /// What the engine has of each workload; workloads that the store does not know are adopted first, or the connect fails.
    async fn adopt_unknown(
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
            if self.controller.registry.get(workload).is_none() {
                let (undeployed, rows): (Vec<&Listed>, Vec<&Listed>) = rows.iter().partition(|row| {
                    row.identity.as_ref().is_some_and(|identity| self.controller.was_undeployed(identity))
                });
                for row in undeployed {
                    if let Some(identity) = &row.identity {
                        self.remove_late_instance(identity.clone(), row.id.clone());
                    }
                }
                crate::adopt_from_labels::adopt(&self.controller, runtime, &self.name, &rows).await?;
            }
            self.controller.bump_generation(workload, rows)?;
        }
        Ok(by_workload)
    }

    fn hand_out(&self, mut by_workload: BTreeMap<String, Vec<Listed>>) {
        for handle in self.controller.registry.all() {
            let (name, placed) = {
                let state = handle.state.borrow();
                (state.desired.name.clone(), state.desired.placement.runtime.clone())
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
                Ok(event) if event.kind == EngineEventKind::Gap => {
                    if let Err(error) = self.close_gap(&event).await {
                        return error.message().to_owned();
                    }
                }
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
            let came = matches!(event.kind, EngineEventKind::Created | EngineEventKind::Started);
            if let Some(identity) =
                event.identity.filter(|identity| ours && came && self.controller.was_undeployed(identity))
            {
                self.remove_late_instance(identity, event.id);
            }
            return;
        };
        let new = public_event(&event, &self.name, &workload, &service);
        if new.as_ref().is_some_and(|new| !self.reported.is_new(new)) {
            return;
        }
        let place = event.cursor.0.clone().map(|cursor| (self.name.clone(), cursor));
        self.commit(Transaction { events: new.into_iter().collect(), cursor: place, ..Transaction::default() });
        handle.send(Message::Engine(event));
    }

    /// An engine may finish a create after the workload was undeployed. The instance is removed when a second scan still finds it and nobody has deployed the workload again.
    fn remove_late_instance(&self, identity: Identity, id: InstanceId) {
        let (controller, name) = (self.controller.clone(), self.name.clone());
        let task = async move {
            tokio::time::sleep(SECOND_SCAN).await;
            let Ok(runtime) = controller.runtimes.get(&name) else { return };
            let there = runtime.inspect(&OpContext::new("second-scan"), &id.to_ref()).await.is_ok();
            if !there || !controller.was_undeployed(&identity) {
                return;
            }
            if let Err(error) = controller.discard(&runtime, &id, LATE_GRACE).await {
                tracing::warn!(instance = %id, %error, "an instance that was created too late was not removed yet");
            }
        };
        self.controller.spawn(task);
    }

    /// The workload an event is about: by its labels, else by the instances that workloads know.
    fn find(&self, event: &Event) -> Option<(crate::registry::WorkloadHandle, String, String)> {
        let named = event.identity.as_ref().and_then(|identity| self.controller.registry.get(&identity.workload()));
        let handle = named.or_else(|| {
            self.controller.registry.find(|state| {
                let mut instances = state.observed.current.iter().chain(&state.observed.previous);
                instances.any(|instance| {
                    instance.runtime == self.name && is_same(instance, &event.id, event.name.as_deref())
                })
            })
        })?;
        let state = handle.read();
        Some((handle, state.desired.name, state.desired.service))
    }

    fn report_lost(&mut self, reason: &str) {
        self.controller.runtimes.lost(&self.name, reason);
        let mut placed = self.controller.registry.all();
        placed.retain(|handle| handle.state.borrow().desired.placement.runtime == self.name);
        // One that has never answered is news only to workloads that are placed on it.
        if !self.lost && (self.known || !placed.is_empty()) {
            self.report(runtime_event(self.controller.now(), &self.name, EventKind::RuntimeDisconnected, reason));
            for handle in placed {
                handle.send(Message::Lost(reason.to_owned()));
            }
            self.lost = true;
        }
    }

    fn report(&self, event: NewEvent) {
        self.commit(Transaction { events: vec![event], ..Transaction::default() });
    }

    fn commit(&self, changes: Transaction) {
        if let Err(error) = self.controller.events.commit(&changes) {
            tracing::warn!(runtime = self.name, %error, "an event was not stored");
        }
    }
}

/// The event as the stream shows it; what the workload's own task reports better is left to it.
fn public_event(event: &Event, runtime: &str, workload: &str, service: &str) -> Option<NewEvent> {
    let (kind, message, details) = match &event.kind {
        EngineEventKind::Created => (EventKind::Created, "created".to_owned(), json!({})),
        EngineEventKind::Started => (EventKind::Started, "started".to_owned(), json!({})),
        EngineEventKind::Stopped { exit } => {
            let code = exit.code.map_or_else(|| "an unknown exit code".to_owned(), |code| code.to_string());
            (EventKind::Exited, format!("its process ended with {code}"), json!({ "code": exit.code }))
        }
        EngineEventKind::Signalled { signal } => {
            (EventKind::Signalled, format!("was sent {signal}"), json!({ "signal": signal }))
        }
        EngineEventKind::OutOfMemory => (EventKind::Oom, "ran out of memory".to_owned(), json!({})),
        EngineEventKind::Updated { what } => (EventKind::Updated, format!("changed: {what}"), json!({ "what": what })),
        EngineEventKind::Removed
        | EngineEventKind::Gap
        | EngineEventKind::Paused
        | EngineEventKind::Unpaused
        | EngineEventKind::Image { .. } => {
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
        kind: kind.into(),
        message,
        details,
    })
}
