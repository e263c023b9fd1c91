//! The configured runtimes, connected or not.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hythe_runtime::{Capability, Error, ErrorKind, Result, Runtime, RuntimeInfo};
use hythe_spec::RuntimeKind;
use tokio::sync::watch;

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
}

/// All configured runtimes, in order of preference.
#[derive(Debug)]
pub struct Runtimes {
    slots: Vec<(Connector, RwLock<State>)>,
    /// Names of those that were tried at least once.
    tried: watch::Sender<BTreeSet<String>>,
}

/// Longest wait for runtimes that were never tried yet.
const FIRST_TRY: Duration = Duration::from_secs(10);

impl Runtimes {
    pub(crate) fn new(connectors: Vec<Connector>) -> Self {
        let state = || RwLock::new(State { runtime: None, error: Some("not connected yet".to_owned()) });
        Self {
            tried: watch::channel(BTreeSet::new()).0,
            slots: connectors.into_iter().map(|connector| (connector, state())).collect(),
        }
    }

    /// Their names, in order of preference.
    pub fn names(&self) -> Vec<String> {
        self.slots.iter().map(|(connector, _)| connector.name.clone()).collect()
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
        // A runtime that takes longer is told as not connected yet.
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
        let (connector, state) = self.slot(name)?;
        let connected = (connector.connect)().await;
        match &connected {
            Ok(runtime) => state.write().unwrap_or_else(PoisonError::into_inner).runtime = Some(runtime.clone()),
            Err(error) => self.lost(name, error.message()),
        }
        connected
    }

    /// What the named runtime has is known: from now on it may be used.
    pub(crate) fn ready(&self, name: &str) {
        if let Ok((_, state)) = self.slot(name) {
            state.write().unwrap_or_else(PoisonError::into_inner).error = None;
        }
        self.was_tried(name);
    }

    fn was_tried(&self, name: &str) {
        self.tried.send_modify(|tried| {
            tried.insert(name.to_owned());
        });
    }

    /// Remembers why the named runtime was lost.
    pub(crate) fn lost(&self, name: &str, reason: &str) {
        if let Ok((_, state)) = self.slot(name) {
            state.write().unwrap_or_else(PoisonError::into_inner).error = Some(reason.to_owned());
        }
        self.was_tried(name);
    }

    fn slot(&self, name: &str) -> Result<&(Connector, RwLock<State>)> {
        self.slots.iter().find(|(connector, _)| connector.name == name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "runtime", format!("no runtime is named `{name}`"))
                .hint(format!("configured: {}", self.names().join(", ")))
        })
    }
}
