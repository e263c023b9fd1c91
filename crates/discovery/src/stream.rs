//! Discovery and its readers; runtimes are followed as long as there is one.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use hythe_runtime::{Clock, Filter, OpContext, Result};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::cache::Cache;
use crate::follower::{INSPECTIONS, RuntimeFollower};
use crate::inspect::inspect_all;
use crate::{FeedEvent, RuntimeSource, Snapshot};

/// Longest wait for runtimes that do not answer.
const FIRST_LIST: Duration = Duration::from_secs(10);

/// The instances on the host.
#[derive(Debug)]
pub struct Discovery {
    agent: String,
    runtimes: Arc<dyn RuntimeSource>,
    clock: Clock,
    session: Mutex<Weak<Session>>,
}

/// The followers of all runtimes; they end with it.
#[derive(Debug)]
struct Session {
    cache: Arc<Cache>,
    done: CancellationToken,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.done.cancel();
    }
}

/// One reader of the stream.
#[derive(Debug)]
pub struct InstanceStream {
    /// Everything there was when the stream was opened.
    pub snapshot: Snapshot,
    live: Option<broadcast::Receiver<Arc<FeedEvent>>>,
    _session: Arc<Session>,
}

/// What a stream gives.
#[derive(Debug, Clone)]
pub enum StreamItem {
    /// A change.
    Event(Arc<FeedEvent>),
    /// So many changes were missed because the reader was too slow; the stream ends.
    Gap(u64),
}

impl Discovery {
    /// For the agent of this id, on these runtimes.
    pub fn new(agent: &str, runtimes: Arc<dyn RuntimeSource>, clock: Clock) -> Self {
        Self { agent: agent.to_owned(), runtimes, clock, session: Mutex::default() }
    }

    /// Everything there is now. If nobody follows, each runtime is listed once and nothing keeps running.
    pub async fn snapshot(&self) -> Snapshot {
        self.runtimes.tried().await;
        if let Some(session) = self.current() {
            self.wait_until_listed(&session.cache).await;
            return session.cache.snapshot();
        }
        let cache = Cache::new(&self.agent, &self.runtimes.names(), self.clock.clone());
        join_all(self.runtimes.names().iter().map(|name| self.list_or_disconnect(name, &cache))).await;
        cache.snapshot()
    }

    /// Everything there is now and every change from then on. The first reader starts the followers, the last one ends them.
    pub async fn follow(&self) -> InstanceStream {
        self.runtimes.tried().await;
        let session = self.session();
        self.wait_until_listed(&session.cache).await;
        let (snapshot, live) = session.cache.subscribe();
        InstanceStream { snapshot, live: Some(live), _session: session }
    }

    /// Whether runtimes are being followed.
    pub fn is_followed(&self) -> bool {
        self.current().is_some()
    }

    async fn wait_until_listed(&self, cache: &Cache) {
        // A runtime that is silent is reported as not connected yet; it comes with its instances as soon as it answers.
        let _ = tokio::time::timeout(FIRST_LIST, cache.wait_until_listed(&self.runtimes.names())).await;
    }

    async fn list_or_disconnect(&self, name: &str, cache: &Cache) {
        if let Err(error) = self.list_and_inspect(name, cache).await {
            cache.disconnected(name, &self.runtimes.reason(name).unwrap_or_else(|| error.message().to_owned()));
        }
    }

    async fn list_and_inspect(&self, name: &str, cache: &Cache) -> Result<()> {
        let runtime = self.runtimes.get(name)?;
        let rows = runtime.list(&OpContext::new("discovery"), &Filter::default()).await?;
        let ids = cache.apply_list(name, rows);
        let mut within = inspect_all(&runtime, ids).take_until(Box::pin(tokio::time::sleep(INSPECTIONS)));
        while let Some(seen) = within.next().await {
            cache.apply_inspected(name, &seen);
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
        let cache = Arc::new(Cache::new(&self.agent, &self.runtimes.names(), self.clock.clone()));
        let session = Arc::new(Session { cache: cache.clone(), done: CancellationToken::new() });
        for name in self.runtimes.names() {
            let follower = RuntimeFollower { name, runtimes: self.runtimes.clone(), cache: cache.clone() };
            tokio::spawn(follower.run(session.done.clone()));
        }
        *kept = Arc::downgrade(&session);
        session
    }
}

impl InstanceStream {
    /// The next item; `None` after a gap.
    pub async fn next(&mut self) -> Option<StreamItem> {
        match self.live.as_mut()?.recv().await {
            Ok(event) => Some(StreamItem::Event(event)),
            Err(RecvError::Lagged(missed)) => {
                self.live = None;
                Some(StreamItem::Gap(missed))
            }
            Err(RecvError::Closed) => None,
        }
    }
}
