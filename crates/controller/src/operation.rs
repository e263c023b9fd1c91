//! Long work that clients follow, join late and cancel.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hythe_runtime::{Clock, Error, ErrorKind, OpContext, watched};
use hythe_spec::vocabulary::{OperationKind, ProgressPhase};
use hythe_store::{OperationRecord, OperationState, Store};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Reports kept per operation for those who join late; byte counts beyond that are dropped, oldest first.
const KEPT_REPORTS: usize = 2048;

/// How operations end that an agent left running.
const RESTARTED: &str = "the agent was restarted";

/// One report of progress.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Workload it concerns.
    pub workload: Option<String>,
    /// Phase.
    pub phase: ProgressPhase,
    /// Part of the phase.
    pub item: String,
    /// What is being done.
    pub message: String,
    /// Bytes done.
    pub current: Option<u64>,
    /// Bytes in all.
    pub total: Option<u64>,
}

#[derive(Debug)]
struct Inner {
    record: OperationRecord,
    reports: VecDeque<Report>,
    dropped: u64,
}

/// A running or finished operation.
#[derive(Debug)]
pub struct OperationHandle {
    inner: Mutex<Inner>,
    changed: watched::Sender<u64>,
    cancel: CancellationToken,
}

impl OperationHandle {
    fn new(record: OperationRecord) -> Self {
        let inner = Inner { record, reports: VecDeque::new(), dropped: 0 };
        Self { inner: Mutex::new(inner), changed: watched::channel(0).0, cancel: CancellationToken::new() }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its record as it is now.
    pub fn record(&self) -> OperationRecord {
        self.inner().record.clone()
    }

    /// Tells those who follow.
    pub fn report(&self, report: Report) {
        let mut inner = self.inner();
        if inner.reports.len() == KEPT_REPORTS {
            inner.reports.pop_front();
            inner.dropped += 1;
        }
        inner.reports.push_back(report);
        drop(inner);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Tells those who follow about a phase of a workload.
    pub(crate) fn phase(&self, workload: &str, phase: ProgressPhase, message: impl Into<String>) {
        self.report(Report {
            workload: Some(workload.to_owned()),
            phase,
            message: message.into(),
            ..Report::default()
        });
    }

    /// Context for calls made on behalf of it.
    pub fn context(&self) -> OpContext {
        let mut context = OpContext::new(self.record().id);
        context.cancel = self.cancel.clone();
        context
    }
}

/// Someone who follows an operation from its beginning.
#[derive(Debug)]
pub struct Joined {
    handle: Arc<OperationHandle>,
    next: u64,
    changed: watched::Receiver<u64>,
}

impl Joined {
    /// The next report; `None` once it has ended and all reports were given.
    pub async fn next(&mut self) -> Option<Report> {
        loop {
            self.changed.mark_unchanged();
            {
                let inner = self.handle.inner();
                let at = self.next.saturating_sub(inner.dropped);
                if let Some(report) = usize::try_from(at).ok().and_then(|at| inner.reports.get(at)) {
                    self.next = at + inner.dropped + 1;
                    return Some(report.clone());
                }
                if inner.record.state != OperationState::Running {
                    return None;
                }
            }
            self.changed.changed().await.ok()?;
        }
    }

    /// The operation.
    pub fn record(&self) -> OperationRecord {
        self.handle.record()
    }
}

/// All operations of this agent.
#[derive(Debug)]
pub struct Operations {
    store: Arc<Store>,
    keep: u32,
    clock: Clock,
    /// The newest id, as a number.
    newest: AtomicU64,
    live: Mutex<BTreeMap<String, Arc<OperationHandle>>>,
    /// Operations end with the agent, wherever they are.
    shutdown: CancellationToken,
}

impl Operations {
    /// Those that an earlier agent left running have lost their task: they are closed here; the workloads' own tasks go on with what is desired.
    /// Where that cannot be written for now it is known all the same. Also gives what was closed, now or by an agent before.
    pub(crate) fn open(
        store: Arc<Store>,
        keep: u32,
        clock: Clock,
        shutdown: CancellationToken,
    ) -> hythe_store::Result<(Self, Vec<OperationRecord>)> {
        let (mut live, mut closed) = (BTreeMap::new(), Vec::new());
        let mut newest = 0;
        for mut record in store.operations()? {
            newest = newest.max(u64::from_str_radix(&record.id, 16).unwrap_or_default());
            if record.error.as_ref().is_some_and(|error| error["message"] == RESTARTED) {
                closed.push(record);
            } else if record.state == OperationState::Running {
                record.state = OperationState::Failed;
                record.finished = Some(clock.now());
                record.error = Some(
                    json!({ "kind": "unavailable", "message": RESTARTED, "hint": "`hythe ps` shows how far it came" }),
                );
                match store.save_operation(&record) {
                    Err(error) if error.is_of_the_disk() => {
                        tracing::warn!(operation = record.id, %error, "its end was not stored");
                        live.insert(record.id.clone(), Arc::new(OperationHandle::new(record.clone())));
                    }
                    saved => saved?,
                }
                closed.push(record);
            }
        }
        Ok((Self { store, keep, clock, newest: AtomicU64::new(newest), live: Mutex::new(live), shutdown }, closed))
    }

    /// Begins an operation and does its work in a task of its own.
    ///
    /// # Errors
    /// When the store cannot be written; nothing is begun then.
    pub fn spawn<F, W>(&self, kind: OperationKind, subject: &str, work: W) -> Result<Arc<OperationHandle>, Error>
    where
        W: FnOnce(Arc<OperationHandle>) -> F,
        F: Future<Output = Result<Option<Value>, Error>> + Send + 'static,
    {
        let handle = Arc::new(OperationHandle::new(OperationRecord {
            id: self.new_id(),
            kind: kind.into(),
            subject: subject.to_owned(),
            state: OperationState::Running,
            started: self.clock.now(),
            finished: None,
            error: None,
            result: None,
        }));
        self.store.save_operation(&handle.record()).map_err(crate::store_error)?;
        self.remember(handle.clone());
        let work = work(handle.clone());
        let (task, store, keep, clock) = (handle.clone(), self.store.clone(), self.keep, self.clock.clone());
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            let outcome = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = task.cancel.cancelled() => Err(Error::new(ErrorKind::Cancelled, "operation", "cancelled")),
                outcome = work => outcome,
            };
            finish(&task, outcome, clock.now());
            if let Err(error) = store.save_operation(&task.record()).and_then(|()| store.prune_operations(keep)) {
                tracing::warn!(%error, "the end of an operation was not stored");
            }
        });
        Ok(handle)
    }

    /// One operation.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn get(&self, id: &str) -> Result<OperationRecord, Error> {
        self.all()?.into_iter().find(|record| record.id == id).ok_or_else(|| missing(id))
    }

    /// All kept operations, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn all(&self) -> Result<Vec<OperationRecord>, Error> {
        let live = self.live().clone();
        let stored = self.store.operations().map_err(crate::store_error)?;
        Ok(stored.into_iter().map(|record| live.get(&record.id).map_or(record, |handle| handle.record())).collect())
    }

    /// Follows an operation from its beginning.
    ///
    /// # Errors
    /// `NotFound`; one that ended before this agent started has no reports any more, only a record.
    pub fn join(&self, id: &str) -> Result<Joined, Error> {
        // The lock is not held while the store is asked, which takes it again.
        let live = self.live().get(id).cloned();
        let handle = match live {
            Some(handle) => handle,
            None => Arc::new(OperationHandle::new(self.get(id)?)),
        };
        let changed = handle.changed.subscribe();
        Ok(Joined { handle, next: 0, changed })
    }

    /// Withdraws an operation; what engines have begun may still happen.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it has ended.
    pub fn cancel(&self, id: &str) -> Result<OperationRecord, Error> {
        let record = self.get(id)?;
        let live = self.live().get(id).cloned();
        match live.filter(|_| record.state == OperationState::Running) {
            Some(handle) => {
                handle.cancel.cancel();
                Ok(handle.record())
            }
            None => Err(Error::new(ErrorKind::Conflict, "cancel", format!("operation `{id}` has ended"))),
        }
    }

    fn live(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<OperationHandle>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ended ones beyond the bound are forgotten; ids sort by time.
    fn remember(&self, handle: Arc<OperationHandle>) {
        let mut live = self.live();
        live.insert(handle.record().id, handle);
        let ended = |handle: &Arc<OperationHandle>| handle.record().state != OperationState::Running;
        let surplus = live.len().saturating_sub(self.keep.min(64) as usize);
        let oldest: Vec<String> =
            live.iter().filter(|(_, handle)| ended(handle)).take(surplus).map(|(id, _)| id.clone()).collect();
        for id in oldest {
            live.remove(&id);
        }
    }

    /// Milliseconds and a count; greater than every one before, also where the clock was set back.
    fn new_id(&self) -> String {
        let now = u64::try_from(self.clock.now().as_millisecond()).unwrap_or_default() << 12;
        let next = |newest: u64| now.max(newest + 1);
        let newest = self.newest.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |newest| Some(next(newest)));
        format!("{:x}", next(newest.unwrap_or_default()))
    }
}

fn finish(handle: &OperationHandle, outcome: Result<Option<Value>, Error>, now: Timestamp) {
    let mut inner = handle.inner();
    inner.record.finished = Some(now);
    match outcome {
        Ok(result) => {
            inner.record.state = OperationState::Succeeded;
            inner.record.result = result;
        }
        Err(error) => {
            let cancelled = error.kind() == ErrorKind::Cancelled;
            inner.record.state = if cancelled { OperationState::Cancelled } else { OperationState::Failed };
            inner.record.error =
                Some(json!({ "kind": error.kind().as_str(), "message": error.message(), "hint": error.next_step() }));
        }
    }
    drop(inner);
    handle.changed.send_modify(|count| *count += 1);
}

fn missing(id: &str) -> Error {
    Error::new(ErrorKind::NotFound, "operation", format!("no operation `{id}` is kept"))
        .hint("`hythe operations` lists those that are")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn operations(store: &Arc<Store>, clock: &Clock) -> Operations {
        Operations::open(store.clone(), 10, clock.clone(), CancellationToken::new()).unwrap().0
    }

    #[tokio::test(start_paused = true)]
    async fn id_after_restart_or_clock_set_back_is_greater_than_all_before() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&dir.path().join("hythe.db")).unwrap().store);
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let begin = |operations: &Operations| {
            operations.spawn(OperationKind::Stop, "shop", |_| async { Ok(None) }).unwrap().record().id
        };
        let first = operations(&store, &Clock::simulated(now));
        let mut ids = vec![begin(&first), begin(&first)];
        let same_time = operations(&store, &Clock::simulated(now));
        ids.push(begin(&same_time));
        let set_back = operations(&store, &Clock::simulated(now - jiff::SignedDuration::from_hours(9)));
        ids.push(begin(&set_back));
        assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
    }
}
