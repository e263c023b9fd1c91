//! The instances on the host, and what each list, event and inspection changes. Pure: values in, changes out.
//!
//! An instance is live from the report that it started to the report that it ended. A list is the truth about which instances exist; an event
//! is the truth about what happened; an inspection is about how one looks. A failed inspection never means that an instance ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hythe_runtime::{Error, Event, EventKind, Exit, Observed, State};
use jiff::SignedDuration;

use crate::{Change, FoundInstance, RuntimeConnection};

/// What an inspection gave; `None`: the instance was not inspected.
pub(crate) type Detail<'a> = Option<&'a Result<Observed, Error>>;

/// An engine records a start and reports it a moment apart; another start takes longer.
const SAME_START: SignedDuration = SignedDuration::from_millis(20);

type Key = (String, String);

/// All runtimes and instances.
#[derive(Debug, Default)]
pub(crate) struct Model {
    agent: String,
    runtimes: BTreeMap<String, RuntimeConnection>,
    instances: BTreeMap<Key, Arc<FoundInstance>>,
}

impl Model {
    pub(crate) fn new(agent: &str, runtimes: impl IntoIterator<Item = String>) -> Self {
        let seen = |name: String| {
            (name.clone(), RuntimeConnection { name, connected: false, error: Some("not connected yet".to_owned()) })
        };
        Self { agent: agent.to_owned(), runtimes: runtimes.into_iter().map(seen).collect(), instances: BTreeMap::new() }
    }

    pub(crate) fn runtimes(&self) -> Vec<RuntimeConnection> {
        self.runtimes.values().cloned().collect()
    }

    pub(crate) fn instances(&self) -> Vec<Arc<FoundInstance>> {
        self.instances.values().cloned().collect()
    }

    /// Live instances of a runtime that were not inspected yet.
    pub(crate) fn incomplete(&self, runtime: &str) -> Vec<String> {
        let of_runtime = self.instances.values().filter(|found| found.runtime == runtime);
        of_runtime.filter(|found| found.is_live() && !found.complete).map(|found| found.id.clone()).collect()
    }

    /// The runtime does not answer. What is known of its instances stays.
    pub(crate) fn disconnected(&mut self, runtime: &str, reason: &str) -> Vec<Change> {
        let Some(seen) = self.runtimes.get_mut(runtime) else { return Vec::new() };
        seen.error = Some(reason.to_owned());
        let was_connected = std::mem::replace(&mut seen.connected, false);
        was_connected.then(|| Change::Disconnected(runtime.to_owned(), reason.to_owned())).into_iter().collect()
    }

    /// All instances of a runtime: what ended is reported before what started, and that before the return of the runtime.
    pub(crate) fn listed(&mut self, runtime: &str, list: Vec<FoundInstance>) -> Vec<Change> {
        let ids: BTreeSet<&str> = list.iter().map(|found| found.id.as_str()).collect();
        let before = self.instances.values().filter(|found| found.runtime == runtime);
        let gone: Vec<Arc<FoundInstance>> = before.filter(|found| !ids.contains(found.id.as_str())).cloned().collect();
        let mut ended: Vec<Change> = gone.iter().flat_map(|found| self.removed(found)).collect();
        let mut rest = Vec::new();
        for found in list {
            let before = self.known(runtime, &found.id);
            for change in self.row(before, found) {
                if matches!(change, Change::Stopped(..)) { ended.push(change) } else { rest.push(change) }
            }
        }
        ended.extend(rest);
        if let Some(seen) = self.runtimes.get_mut(runtime) {
            seen.error = None;
            if !std::mem::replace(&mut seen.connected, true) {
                ended.push(Change::Reconnected(runtime.to_owned()));
            }
        }
        ended
    }

    /// One row of a list.
    fn row(&mut self, before: Option<Arc<FoundInstance>>, found: FoundInstance) -> Vec<Change> {
        let Some(before) = before else {
            let found = self.insert(found);
            return vec![if found.is_live() { Change::Started(found) } else { Change::Created(found) }];
        };
        let found = self.insert(found.with_details_of(&before));
        match (before.is_live(), found.is_live()) {
            (true, false) => vec![Change::Stopped(found.clone(), found.exit_code.map(Exit::from_code))],
            (false, true) => vec![Change::Started(found)],
            _ => changed(&before, found),
        }
    }

    /// An inspection after a list. The state is left to lists and events, which come in order.
    pub(crate) fn inspected(&mut self, runtime: &str, seen: &Observed) -> Vec<Change> {
        let Some(before) = self.known(runtime, &seen.id.0).filter(|before| !before.complete && before.is_live()) else {
            return Vec::new();
        };
        let now = self.described(runtime, seen);
        if !now.is_live() {
            return Vec::new();
        }
        let restarted = before.started.is_some() && before.started != now.started;
        let found = self.insert(FoundInstance { state: before.state, ..now });
        if restarted {
            return vec![missed_end(&before), Change::Started(found)];
        }
        changed(&before, found)
    }

    /// Whether the instance must be inspected before the event can be understood.
    pub(crate) fn needs_inspect(&self, runtime: &str, event: &Event) -> bool {
        let before = self.known(runtime, &event.id.0).filter(|before| before.is_live());
        match &event.kind {
            EventKind::Created | EventKind::Started => true,
            EventKind::Updated { .. } => before.is_some(),
            EventKind::Stopped { .. } => before.is_some_and(|before| is_older(event, &before)),
            EventKind::Signalled { .. }
            | EventKind::Paused
            | EventKind::Unpaused
            | EventKind::OutOfMemory
            | EventKind::Removed
            | EventKind::Gap
            | EventKind::Image { .. } => false,
        }
    }

    /// One event, with the inspection of its instance.
    pub(crate) fn event(&mut self, runtime: &str, event: &Event, detail: Detail<'_>) -> Vec<Change> {
        let before = self.known(runtime, &event.id.0);
        match &event.kind {
            EventKind::Created if before.is_none() => {
                let found = self.instance_of(runtime, event, detail);
                vec![Change::Created(self.insert(FoundInstance { state: State::Created, ..found }))]
            }
            EventKind::Started => self.started(runtime, event, before, detail),
            EventKind::Stopped { exit } => self.stopped(event, before, exit, detail),
            EventKind::Paused => self.paused_or_unpaused(before, State::Paused, "paused"),
            EventKind::Unpaused => self.paused_or_unpaused(before, State::Running, "unpaused"),
            EventKind::Updated { .. } => self.updated(runtime, event, before, detail),
            EventKind::Removed => before.map(|before| self.removed(&before)).unwrap_or_default(),
            EventKind::Created
            | EventKind::Signalled { .. }
            | EventKind::OutOfMemory
            | EventKind::Gap
            | EventKind::Image { .. } => Vec::new(),
        }
    }

    fn started(
        &mut self,
        runtime: &str,
        event: &Event,
        before: Option<Arc<FoundInstance>>,
        detail: Detail<'_>,
    ) -> Vec<Change> {
        let live = before.as_ref().filter(|before| before.is_live()).cloned();
        let Some(Ok(seen)) = detail else {
            // The list said it already, or nothing is known but the event.
            return if live.is_some() { Vec::new() } else { vec![self.started_by_event(runtime, event, before)] };
        };
        // The engine may have started it once more by now; another event will report that.
        let later = seen.started.is_some_and(|started| started.duration_since(event.time) > SAME_START);
        let started = if later { Some(event.time) } else { seen.started };
        let now = FoundInstance { started, ..self.described(runtime, seen) };
        let mut changes = match live {
            // The list has reported it already, and the event only comes after it.
            Some(before) if !before.complete || before.started == now.started => {
                let now = FoundInstance { state: before.state, exit_code: None, ..now };
                changed(&before, self.insert(now))
            }
            live => {
                let running = FoundInstance { state: State::Running, exit_code: None, ..now };
                let started = Change::Started(self.insert(running));
                live.iter().map(|before| missed_end(before)).chain([started]).collect()
            }
        };
        // One that is being removed has ended too, but how is left to the event.
        if seen.state == State::Exited
            && !later
            && let Some(found) = self.known(runtime, &event.id.0)
        {
            changes.extend(self.end(&found, seen.exit.clone()));
        }
        changes
    }

    /// Started, as far as is known without an inspection.
    fn started_by_event(&mut self, runtime: &str, event: &Event, before: Option<Arc<FoundInstance>>) -> Change {
        let known = before.map(|before| (*before).clone());
        let known = known.unwrap_or_else(|| self.instance_of(runtime, event, None));
        let found = FoundInstance { state: State::Running, exit_code: None, complete: false, ..known };
        Change::Started(self.insert(found))
    }

    fn stopped(
        &mut self,
        event: &Event,
        before: Option<Arc<FoundInstance>>,
        exit: &Exit,
        detail: Detail<'_>,
    ) -> Vec<Change> {
        let Some(before) = before.filter(|before| before.is_live()) else { return Vec::new() };
        // The end of an earlier run, reported late: the engine knows of a later start, and that it runs.
        let runs = |seen: &Observed| seen.state == State::Running && seen.started.is_some_and(|at| at > event.time);
        if is_older(event, &before) && detail.is_some_and(|detail| detail.as_ref().is_ok_and(runs)) {
            return Vec::new();
        }
        self.end(&before, Some(exit.clone())).into_iter().collect()
    }

    fn end(&mut self, before: &FoundInstance, exit: Option<Exit>) -> Option<Change> {
        let exit_code = exit.as_ref().and_then(|exit| exit.code);
        Some(Change::Stopped(self.insert(FoundInstance { exit_code, ..ended(before) }), exit))
    }

    fn paused_or_unpaused(&mut self, before: Option<Arc<FoundInstance>>, state: State, what: &str) -> Vec<Change> {
        let Some(before) = before.filter(|before| before.is_live() && before.state != state) else { return Vec::new() };
        let found = self.insert(FoundInstance { state, ..(*before).clone() });
        vec![Change::Updated(found, what.to_owned())]
    }

    fn updated(
        &mut self,
        runtime: &str,
        event: &Event,
        before: Option<Arc<FoundInstance>>,
        detail: Detail<'_>,
    ) -> Vec<Change> {
        let Some(before) = before.filter(|before| before.is_live()) else { return Vec::new() };
        let now = match (detail, &event.name) {
            (Some(Ok(seen)), _) => {
                FoundInstance { state: before.state, exit_code: None, ..self.described(runtime, seen) }
            }
            // The event alone may say it.
            (_, Some(name)) => before.renamed(name),
            _ => return Vec::new(),
        };
        changed(&before, self.insert(now))
    }

    /// It does not exist any more.
    fn removed(&mut self, before: &FoundInstance) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut last = Arc::new(before.clone());
        if before.is_live() {
            last = Arc::new(ended(before));
            changes.push(Change::Stopped(last.clone(), None));
        }
        self.instances.remove(&(before.runtime.clone(), before.id.clone()));
        changes.push(Change::Removed(last));
        changes
    }

    fn known(&self, runtime: &str, id: &str) -> Option<Arc<FoundInstance>> {
        self.instances.get(&(runtime.to_owned(), id.to_owned())).cloned()
    }

    fn insert(&mut self, found: FoundInstance) -> Arc<FoundInstance> {
        let found = Arc::new(found);
        self.instances.insert((found.runtime.clone(), found.id.clone()), found.clone());
        found
    }

    fn described(&self, runtime: &str, seen: &Observed) -> FoundInstance {
        FoundInstance::of_observed(runtime, seen.clone(), &self.agent)
    }

    /// The instance as inspected, else as the event has it.
    fn instance_of(&self, runtime: &str, event: &Event, detail: Detail<'_>) -> FoundInstance {
        match detail {
            Some(Ok(seen)) => self.described(runtime, seen),
            _ => FoundInstance::of_event(
                runtime,
                &event.id.0,
                event.name.as_deref(),
                event.identity.as_ref(),
                &self.agent,
            ),
        }
    }
}

/// One update with everything that differs, whichever event led to it: one inspection may show the effects of several events.
fn changed(before: &FoundInstance, now: Arc<FoundInstance>) -> Vec<Change> {
    match before.changes_to(&now).join(", ") {
        same if same.is_empty() => Vec::new(),
        what => vec![Change::Updated(now, what)],
    }
}

fn ended(before: &FoundInstance) -> FoundInstance {
    FoundInstance { state: State::Exited, health: None, exit_code: None, ..before.clone() }
}

/// An end that only the next start reveals.
fn missed_end(before: &FoundInstance) -> Change {
    Change::Stopped(Arc::new(ended(before)), None)
}

/// The instance is known to have been started after the event, or it is not known when.
fn is_older(event: &Event, before: &FoundInstance) -> bool {
    before.started.is_none_or(|started| started > event.time)
}
