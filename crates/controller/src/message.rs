//! What the task of a workload is sent.

use std::sync::Arc;

use hythe_runtime::{Error, Event, InstanceId, Listed};
use hythe_store::SentSignal;
use tokio::sync::oneshot;

use crate::lifecycle::Outcome;
use crate::operation::OperationHandle;
use crate::snapshots::naming::{Name, SnapshotOn};

type Reply = oneshot::Sender<Result<(), Error>>;

/// A message to a workload's task.
#[derive(Debug)]
pub(crate) enum Message {
    /// Something else is desired; somebody waits until it is true.
    Asked(Request),
    /// Its engine reported something about one of its instances.
    Engine(Event),
    /// Its engine (again) answers and has these instances of it.
    Listed(Vec<Listed>),
    /// Its engine no longer answers.
    Lost(String),
    /// A probe of this instance had this result.
    Probed(InstanceId, Result<(), String>),
    /// It was found to differ from what is desired, in these fields.
    Drifted(String),
    /// The image of the next instance was fetched, or could not be.
    Fetched(Fetched),
    /// A user has it sent a signal.
    Signalled(SentSignal),
    /// Take a snapshot of its current instance.
    Snapshot(TakeSnapshot),
}

/// Someone who waits for the outcome.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) operation: Arc<OperationHandle>,
    /// Which request it is, by the workload's own count.
    pub(crate) number: u64,
    pub(crate) reply: Reply,
}

/// What came of fetching for this generation.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) generation: u64,
    pub(crate) outcome: Result<Outcome, Error>,
}

/// A snapshot that somebody waits for.
#[derive(Debug)]
pub(crate) struct TakeSnapshot {
    /// Nobody else takes it as long as this is there.
    pub(crate) name: Name,
    pub(crate) operation: Arc<OperationHandle>,
    pub(crate) reply: oneshot::Sender<Result<SnapshotOn, Error>>,
}
