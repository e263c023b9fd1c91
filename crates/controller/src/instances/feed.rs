//! Readers, and the followers that live as long as there is one.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use hythe_runtime::{Filter, OpContext, Result};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::follower::{DETAILS, Follower};
use super::inventory::Inventory;
use super::{Snapshot, Told, details};
use crate::Runtimes;

/// Longest wait for runtimes that do not say whether they answer.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// Where the instances of this machine are read.
#[derive(Debug)]
pub struct Instances {
    agent: String,
    runtimes: Arc<Runtimes>,
    session: Mutex<Weak<Session>>,
}

/// Followers of all runtimes; they end with it.
#[derive(Debug)]
struct Session {
    inventory: Arc<Inventory>,
    done: CancellationToken,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.done.cancel();
    }
}

/// Somebody who reads the feed.
#[derive(Debug)]
pub struct Reader {
    /// What there was when the reader came.
    pub snapshot: Snapshot,
    live: Option<broadcast::Receiver<Arc<Told>>>,
    _session: Arc<Session>,
}

/// What a reader hears.
#[derive(Debug, Clone)]
pub enum Heard {
    /// A change.
    Told(Arc<Told>),
    /// So many changes were missed because the reader was too slow; nothing follows.
    Gap(u64),
}

impl Instances {
    pub(crate) fn new(agent: &str, runtimes: Arc<Runtimes>) -> Self {
        Self { agent: agent.to_owned(), runtimes, session: Mutex::default() }
    }

    /// Everything there is now. Where nobody follows, each engine is asked once and nothing goes on running.
    pub async fn snapshot(&self) -> Snapshot {
        self.runtimes.tried().await;
        if let Some(session) = self.current() {
            self.settled(&session.inventory).await;
            return session.inventory.snapshot();
        }
        let inventory = Inventory::new(&self.agent, &self.runtimes.names());
        join_all(self.runtimes.names().iter().map(|name| self.look(name, &inventory))).await;
        inventory.snapshot()
    }

    /// Everything there is now and every change from then on. The first reader starts to follow the engines, the last one ends it.
    pub async fn follow(&self) -> Reader {
        self.runtimes.tried().await;
        let session = self.session();
        self.settled(&session.inventory).await;
        let (snapshot, live) = session.inventory.subscribe();
        Reader { snapshot, live: Some(live), _session: session }
    }

    /// Whether engines are being followed.
    pub fn is_followed(&self) -> bool {
        self.current().is_some()
    }

    async fn settled(&self, inventory: &Inventory) {
        // A runtime that says nothing is told as not connected yet; it comes with its instances as soon as it answers.
        let _ = tokio::time::timeout(FIRST_LOOK, inventory.settled(&self.runtimes.names())).await;
    }

    async fn look(&self, name: &str, inventory: &Inventory) {
        if let Err(error) = self.ask(name, inventory).await {
            inventory.lost(name, &self.runtimes.reason(name).unwrap_or_else(|| error.message().to_owned()));
        }
    }

    async fn ask(&self, name: &str, inventory: &Inventory) -> Result<()> {
        let runtime = self.runtimes.get(name)?;
        let rows = runtime.list(&OpContext::new("instances"), &Filter::default()).await?;
        let ids = inventory.listed(name, rows);
        let mut within = details::patiently(&runtime, ids).take_until(Box::pin(tokio::time::sleep(DETAILS)));
        while let Some(seen) = within.next().await {
            inventory.detailed(name, &seen);
        }
        Ok(())
    }

    fn current(&self) -> Option<Arc<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    fn session(&self) -> Arc<Session> {
        let mut kept = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = kept.upgrade() {
            return session;
        }
        let inventory = Arc::new(Inventory::new(&self.agent, &self.runtimes.names()));
        let session = Arc::new(Session { inventory: inventory.clone(), done: CancellationToken::new() });
        for name in self.runtimes.names() {
            let follower = Follower { name, runtimes: self.runtimes.clone(), inventory: inventory.clone() };
            tokio::spawn(follower.run(session.done.clone()));
        }
        *kept = Arc::downgrade(&session);
        session
    }
}

impl Reader {
    /// The next thing to hear; `None` after a gap.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.live.as_mut()?.recv().await {
            Ok(told) => Some(Heard::Told(told)),
            Err(RecvError::Lagged(missed)) => {
                self.live = None;
                Some(Heard::Gap(missed))
            }
            Err(RecvError::Closed) => None,
        }
    }
}
