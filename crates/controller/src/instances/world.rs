//! What is known of the machine, and what each word of an engine changes. Pure: values in, changes out.
//!
//! An instance is live from the word that it started to the word that it ended. A list is the truth about who is there; an event is the
//! truth about what happened; details are about how it looks. Nothing is taken for ended because a question about it failed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hythe_runtime::{Error, Event, EventKind, Exit, Observed, State};
use jiff::SignedDuration;

use super::{Change, FoundInstance, RuntimeSeen};

/// What the engine said when asked about one instance; `None`: it was not asked.
pub(super) type Detail<'a> = Option<&'a Result<Observed, Error>>;

/// An engine writes down a start and tells of it a moment apart; another start takes longer.
const SAME_START: SignedDuration = SignedDuration::from_millis(20);

type Key = (String, String);

/// All runtimes and instances.
#[derive(Debug, Default)]
pub(super) struct World {
    agent: String,
    runtimes: BTreeMap<String, RuntimeSeen>,
    instances: BTreeMap<Key, Arc<FoundInstance>>,
}

impl World {
    pub(super) fn new(agent: &str, runtimes: impl IntoIterator<Item = String>) -> Self {
        let seen = |name: String| {
            (name.clone(), RuntimeSeen { name, connected: false, error: Some("not connected yet".to_owned()) })
        };
        Self { agent: agent.to_owned(), runtimes: runtimes.into_iter().map(seen).collect(), instances: BTreeMap::new() }
    }

    pub(super) fn runtimes(&self) -> Vec<RuntimeSeen> {
        self.runtimes.values().cloned().collect()
    }

    pub(super) fn instances(&self) -> Vec<Arc<FoundInstance>> {
        self.instances.values().cloned().collect()
    }

    /// Live ones of a runtime that the engine was not asked about yet.
    pub(super) fn incomplete(&self, runtime: &str) -> Vec<String> {
        let of_runtime = self.instances.values().filter(|found| found.runtime == runtime);
        of_runtime.filter(|found| found.is_live() && !found.complete).map(|found| found.id.clone()).collect()
    }

    /// The runtime does not answer. What is known of its instances stays.
    pub(super) fn lost(&mut self, runtime: &str, reason: &str) -> Vec<Change> {
        let Some(seen) = self.runtimes.get_mut(runtime) else { return Vec::new() };
        seen.error = Some(reason.to_owned());
        let news = std::mem::replace(&mut seen.connected, false);
        news.then(|| Change::Disconnected(runtime.to_owned(), reason.to_owned())).into_iter().collect()
    }

    /// All instances of a runtime: what ended is told before what started, and that before the return of the runtime.
    pub(super) fn listed(&mut self, runtime: &str, list: Vec<FoundInstance>) -> Vec<Change> {
        let ids: BTreeSet<&str> = list.iter().map(|found| found.id.as_str()).collect();
        let before = self.instances.values().filter(|found| found.runtime == runtime);
        let gone: Vec<Arc<FoundInstance>> = before.filter(|found| !ids.contains(found.id.as_str())).cloned().collect();
        let mut ended: Vec<Change> = gone.iter().flat_map(|found| self.gone(found)).collect();
        let mut rest = Vec::new();
        for found in list {
            let before = self.known(runtime, &found.id);
            for change in self.seen(before, found) {
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
    fn seen(&mut self, before: Option<Arc<FoundInstance>>, found: FoundInstance) -> Vec<Change> {
        let Some(before) = before else {
            let found = self.keep(found);
            return vec![if found.is_live() { Change::Started(found) } else { Change::Created(found) }];
        };
        let found = self.keep(found.with_details_of(&before));
        match (before.is_live(), found.is_live()) {
            (true, false) => vec![Change::Stopped(found.clone(), found.exit_code.map(Exit::from_code))],
            (false, true) => vec![Change::Started(found)],
            _ => changed(&before, found),
        }
    }

    /// What was asked for after a list. The state is left to lists and events, which are told in order.
    pub(super) fn detailed(&mut self, runtime: &str, seen: &Observed) -> Vec<Change> {
        let Some(before) = self.known(runtime, &seen.id.0).filter(|before| !before.complete && before.is_live()) else {
            return Vec::new();
        };
        let now = self.described(runtime, seen);
        if !now.is_live() {
            return Vec::new();
        }
        let restarted = before.started.is_some() && before.started != now.started;
        let found = self.keep(FoundInstance { state: before.state, ..now });
        if restarted {
            return vec![unseen_end(&before), Change::Started(found)];
        }
        changed(&before, found)
    }

    /// Whether the engine must be asked about the instance before the event can be understood.
    pub(super) fn wants_detail(&self, runtime: &str, event: &Event) -> bool {
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
            | EventKind::Image { .. } => false,
        }
    }

    /// One event, with what the engine says of the instance by now.
    pub(super) fn event(&mut self, runtime: &str, event: &Event, detail: Detail<'_>) -> Vec<Change> {
        let before = self.known(runtime, &event.id.0);
        match &event.kind {
            EventKind::Created if before.is_none() => {
                let found = self.about(runtime, event, detail);
                vec![Change::Created(self.keep(FoundInstance { state: State::Created, ..found }))]
            }
            EventKind::Started => self.started(runtime, event, before, detail),
            EventKind::Stopped { exit } => self.stopped(event, before, exit, detail),
            EventKind::Paused => self.turned(before, State::Paused, "paused"),
            EventKind::Unpaused => self.turned(before, State::Running, "unpaused"),
            EventKind::Updated { .. } => self.updated(runtime, event, before, detail),
            EventKind::Removed => before.map(|before| self.gone(&before)).unwrap_or_default(),
            EventKind::Created | EventKind::Signalled { .. } | EventKind::OutOfMemory | EventKind::Image { .. } => {
                Vec::new()
            }
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
            // The list said it already, or nobody can say more than the event.
            return if live.is_some() { Vec::new() } else { vec![self.begun(runtime, event, before)] };
        };
        // The engine may have started it once more by now; that will be told by another event.
        let later = seen.started.is_some_and(|started| started.duration_since(event.time) > SAME_START);
        let started = if later { Some(event.time) } else { seen.started };
        let now = FoundInstance { started, ..self.described(runtime, seen) };
        let mut changes = match live {
            // The list has told it already, and the event only comes after it.
            Some(before) if !before.complete || before.started == now.started => {
                let now = FoundInstance { state: before.state, exit_code: None, ..now };
                changed(&before, self.keep(now))
            }
            live => {
                let running = FoundInstance { state: State::Running, exit_code: None, ..now };
                let started = Change::Started(self.keep(running));
                live.iter().map(|before| unseen_end(before)).chain([started]).collect()
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

    /// Started, as far as is known without the engine's word.
    fn begun(&mut self, runtime: &str, event: &Event, before: Option<Arc<FoundInstance>>) -> Change {
        let known = before.map(|before| (*before).clone());
        let known = known.unwrap_or_else(|| self.about(runtime, event, None));
        let found = FoundInstance { state: State::Running, exit_code: None, complete: false, ..known };
        Change::Started(self.keep(found))
    }

    fn stopped(
        &mut self,
        event: &Event,
        before: Option<Arc<FoundInstance>>,
        exit: &Exit,
        detail: Detail<'_>,
    ) -> Vec<Change> {
        let Some(before) = before.filter(|before| before.is_live()) else { return Vec::new() };
        // The end of an earlier run, told late: the engine knows of a later start, and that it runs.
        let runs = |seen: &Observed| seen.state == State::Running && seen.started.is_some_and(|at| at > event.time);
        if is_older(event, &before) && detail.is_some_and(|detail| detail.as_ref().is_ok_and(runs)) {
            return Vec::new();
        }
        self.end(&before, Some(exit.clone())).into_iter().collect()
    }

    fn end(&mut self, before: &FoundInstance, exit: Option<Exit>) -> Option<Change> {
        let exit_code = exit.as_ref().map(|exit| exit.code);
        Some(Change::Stopped(self.keep(FoundInstance { exit_code, ..ended(before) }), exit))
    }

    fn turned(&mut self, before: Option<Arc<FoundInstance>>, state: State, what: &str) -> Vec<Change> {
        let Some(before) = before.filter(|before| before.is_live() && before.state != state) else { return Vec::new() };
        let found = self.keep(FoundInstance { state, ..(*before).clone() });
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
            // The engine may tell of it without an answer.
            (_, Some(name)) => before.renamed(name),
            _ => return Vec::new(),
        };
        changed(&before, self.keep(now))
    }

    /// It is not there any more.
    fn gone(&mut self, before: &FoundInstance) -> Vec<Change> {
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

    fn keep(&mut self, found: FoundInstance) -> Arc<FoundInstance> {
        let found = Arc::new(found);
        self.instances.insert((found.runtime.clone(), found.id.clone()), found.clone());
        found
    }

    fn described(&self, runtime: &str, seen: &Observed) -> FoundInstance {
        FoundInstance::of_observed(runtime, seen.clone(), &self.agent)
    }

    /// What the engine says of it, else what the event says.
    fn about(&self, runtime: &str, event: &Event, detail: Detail<'_>) -> FoundInstance {
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

/// Told with everything that is seen to be different, whichever event made one look: a single look may show the work of several.
fn changed(before: &FoundInstance, now: Arc<FoundInstance>) -> Vec<Change> {
    match before.changes_to(&now).join(", ") {
        same if same.is_empty() => Vec::new(),
        what => vec![Change::Updated(now, what)],
    }
}

fn ended(before: &FoundInstance) -> FoundInstance {
    FoundInstance { state: State::Exited, health: None, exit_code: None, ..before.clone() }
}

/// An end of which only the next start tells.
fn unseen_end(before: &FoundInstance) -> Change {
    Change::Stopped(Arc::new(ended(before)), None)
}

/// The instance is known to have been started after the event, or it is not known when.
fn is_older(event: &Event, before: &FoundInstance) -> bool {
    before.started.is_none_or(|started| started > event.time)
}
