//! The configured runtimes, connected or not.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hythe_runtime::{Capability, Error, ErrorKind, Result, Runtime, RuntimeInfo, watched};
use hythe_spec::RuntimeKind;
use tokio::time::Instant;

/// Connects one runtime; called again after it was lost.
pub type Connect = Arc<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn Runtime>>> + Send + Sync>;

/// A configured runtime and how to reach it.
#[derive(Clone)]
pub struct Connector {
    /// Unique name.
    pub name: String,
    /// Kind.
    pub kind: RuntimeKind,
    /// Reaches it.
    pub connect: Connect,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// One configured runtime as it is now.
#[derive(Debug, Clone)]
pub struct RuntimeStatus {
    /// Unique name.
    pub name: String,
    /// Kind.
    pub kind: RuntimeKind,
    /// What was found at connect; kept while it is lost.
    pub info: Option<RuntimeInfo>,
    /// What it can honour; kept while it is lost.
    pub capability: Option<Capability>,
    /// Why it does not answer.
    pub error: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    runtime: Option<Arc<dyn Runtime>>,
    error: Option<String>,
    lost: Option<Instant>,
    /// It answers; what it has is being read, and nothing may be decided before.
    reading: bool,
}

impl State {
    /// The engine is held by this slot: it answers there, or did a moment ago and may be restarting.
    fn holds(&self, engine: &str) -> bool {
        let known = self.runtime.as_ref().and_then(|runtime| runtime.info().engine_id.as_deref());
        let answers = self.error.is_none() || self.reading || self.lost.is_some_and(|lost| lost.elapsed() < HELD);
        known == Some(engine) && answers
    }
}

/// All configured runtimes, in order of preference.
#[derive(Debug)]
pub struct Runtimes {
    slots: Vec<(Connector, RwLock<State>)>,
    /// Names of those that were tried at least once.
    tried: watched::Sender<BTreeSet<String>>,
    /// Counts connects and losses.
    changes: watched::Sender<u64>,
    /// Held while a slot takes its engine.
    taking: Mutex<()>,
}

/// Longest wait for runtimes that were never tried yet; some ask the package manager before they answer, which takes 10 s on a busy host.
const FIRST_TRY: Duration = Duration::from_secs(30);
/// How long a runtime that was lost keeps its engine from another one that reaches it too.
const HELD: Duration = Duration::from_secs(60);

impl Runtimes {
    pub(crate) fn new(connectors: Vec<Connector>) -> Self {
        let state = || RwLock::new(State { error: Some("not connected yet".to_owned()), ..State::default() });
        Self {
            changes: watched::channel(0).0,
            taking: Mutex::default(),
            tried: watched::channel(BTreeSet::new()).0,
            slots: connectors.into_iter().map(|connector| (connector, state())).collect(),
        }
    }

    /// Their names, in order of preference.
    pub fn names(&self) -> Vec<String> {
        self.slots.iter().map(|(connector, _)| connector.name.clone()).collect()
    }

    /// Why the named runtime is not used, in a few words; `None`: it answers.
    pub fn reason(&self, name: &str) -> Option<String> {
        read(&self.slot(name).ok()?.1).error.clone()
    }

    /// Whether there is a runtime of this name.
    ///
    /// # Errors
    /// `NotFound` naming those that are configured.
    pub fn is_configured(&self, name: &str) -> Result<()> {
        self.slot(name).map(drop)
    }

    /// The named runtime, where it answers.
    ///
    /// # Errors
    /// `NotFound` for a name that is not configured, `Unavailable` with the reason for one that does not answer.
    pub fn get(&self, name: &str) -> Result<Arc<dyn Runtime>> {
        let state = self.slot(name)?.1.read().unwrap_or_else(PoisonError::into_inner);
        match (&state.runtime, &state.error) {
            (Some(runtime), None) => Ok(runtime.clone()),
            (_, error) => Err(Error::new(
                ErrorKind::Unavailable,
                "runtime",
                format!("runtime `{name}` does not answer: {}", error.as_deref().unwrap_or("not connected yet")),
            )
            .hint("`hythe runtimes` shows what was tried")),
        }
    }

    /// The named runtime, or the first that answers where no name is given.
    ///
    /// # Errors
    /// As [`Runtimes::get`]; `Unavailable` when none answers.
    pub fn choose(&self, name: Option<&str>) -> Result<Arc<dyn Runtime>> {
        if let Some(name) = name {
            return self.get(name);
        }
        self.names().iter().find_map(|name| self.get(name).ok()).ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "runtime", "no runtime answers")
                .hint("`hythe runtimes` shows what was tried")
        })
    }

    /// Waits until every one was tried at least once, some seconds at most: right after a start nobody is known yet.
    pub async fn tried(&self) {
        let mut tried = self.tried.subscribe();
        let all = tried.wait_for(|tried| tried.len() == self.slots.len());
        // A runtime that takes longer is reported as not connected yet.
        let _ = tokio::time::timeout(FIRST_TRY, all).await;
    }

    /// Those that do not answer, and why.
    pub(crate) fn down(&self) -> Vec<(String, String)> {
        let reason = |(connector, state): &(Connector, RwLock<State>)| {
            let state = state.read().unwrap_or_else(PoisonError::into_inner);
            let error = state.error.as_ref()?;
            Some((connector.name.clone(), format!("runtime `{}` does not answer: {error}", connector.name)))
        };
        self.slots.iter().filter_map(reason).collect()
    }

    /// All of them as they are now.
    pub fn status(&self) -> Vec<RuntimeStatus> {
        self.slots
            .iter()
            .map(|(connector, state)| {
                let state = state.read().unwrap_or_else(PoisonError::into_inner);
                RuntimeStatus {
                    name: connector.name.clone(),
                    kind: connector.kind,
                    info: state.runtime.as_ref().map(|runtime| runtime.info().clone()),
                    capability: state.runtime.as_ref().map(|runtime| runtime.capability().clone()),
                    error: state.error.clone(),
                }
            })
            .collect()
    }

    /// Connects the named runtime again; it may be used once it is [`Runtimes::ready`].
    pub(crate) async fn connect(&self, name: &str) -> Result<Arc<dyn Runtime>> {
        let (connector, _) = self.slot(name)?;
        let connected = match (connector.connect)().await {
            Ok(runtime) => {
                self.earlier_were_tried(name, runtime.info()).await;
                self.take(name, runtime)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &connected {
            self.write(name, |state| state.error = Some(error.message().to_owned()));
            self.was_tried(name);
        }
        connected
    }

    /// Connects it where nothing has to be adopted.
    #[cfg(test)]
    pub(crate) async fn reach(&self, name: &str) -> Result<Arc<dyn Runtime>> {
        let runtime = self.connect(name).await?;
        self.ready(name);
        Ok(runtime)
    }

    /// What the named runtime has is known: from now on it may be used. `false` where its engine was given to another one meanwhile.
    pub(crate) fn ready(&self, name: &str) -> bool {
        let mut still = false;
        self.write(name, |state| {
            still = std::mem::take(&mut state.reading);
            if still {
                state.error = None;
            }
        });
        self.was_tried(name);
        still
    }

    fn was_tried(&self, name: &str) {
        self.tried.send_modify(|tried| {
            tried.insert(name.to_owned());
        });
    }

    /// Remembers why the named runtime was lost.
    pub(crate) fn lost(&self, name: &str, reason: &str) {
        self.write(name, |state| {
            if state.error.is_none() {
                state.lost = Some(Instant::now());
            }
            state.error = Some(reason.to_owned());
            state.reading = false;
        });
        self.was_tried(name);
    }

    /// Wakes whenever one was connected, could not be, or was lost.
    pub fn changed(&self) -> watched::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits for earlier slots that may turn out to reach the same engine; one that takes longer takes it back when it comes.
    async fn earlier_were_tried(&self, name: &str, info: &RuntimeInfo) {
        let alike = |connector: &Connector| connector.kind == info.kind || connector.kind.to_string() == info.engine;
        let earlier = self.slots.iter().map(|(connector, _)| connector).take_while(|connector| connector.name != name);
        let names: Vec<&str> = earlier.filter(|connector| alike(connector)).map(|c| c.name.as_str()).collect();
        let mut tried = self.tried.subscribe();
        let all = tried.wait_for(|tried| names.iter().all(|name| tried.contains(*name)));
        let _ = tokio::time::timeout(FIRST_TRY, all).await;
    }

    /// Gives the slot its runtime, unless an earlier one holds the same engine; a later one that does is set aside. One engine is one
    /// runtime, by whatever ways it is reached.
    fn take(&self, name: &str, runtime: Arc<dyn Runtime>) -> Result<Arc<dyn Runtime>> {
        let _one_at_a_time = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let engine = runtime.info().engine_id.as_deref();
        let holders = self.slots.iter().filter(|(_, state)| engine.is_some_and(|engine| read(state).holds(engine)));
        let holders: Vec<&str> = holders.map(|(connector, _)| connector.name.as_str()).collect();
        let place = |name: &str| self.slots.iter().position(|(connector, _)| connector.name == name);
        for holder in holders {
            match place(holder).cmp(&place(name)) {
                Ordering::Less => return Err(Error::new(ErrorKind::Unavailable, "connect", same_engine(holder))),
                Ordering::Equal => {}
                Ordering::Greater => self.write(holder, |state| {
                    (state.error, state.lost, state.reading) = (Some(same_engine(name)), None, false);
                }),
            }
        }
        self.write(name, |state| {
            let error = Some("what it has is being read".to_owned());
            *state = State { runtime: Some(runtime.clone()), error, lost: None, reading: true };
        });
        Ok(runtime)
    }

    fn write(&self, name: &str, change: impl FnOnce(&mut State)) {
        if let Ok((_, state)) = self.slot(name) {
            change(&mut state.write().unwrap_or_else(PoisonError::into_inner));
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    fn slot(&self, name: &str) -> Result<&(Connector, RwLock<State>)> {
        self.slots.iter().find(|(connector, _)| connector.name == name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "runtime", format!("no runtime is named `{name}`"))
                .hint(format!("configured: {}", self.names().join(", ")))
        })
    }
}

fn read(state: &RwLock<State>) -> RwLockReadGuard<'_, State> {
    state.read().unwrap_or_else(PoisonError::into_inner)
}

fn same_engine(name: &str) -> String {
    format!("is the same engine as `{name}`")
}

#[cfg(test)]
mod tests;
