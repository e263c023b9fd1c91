//! No call waits for ever.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{Call, Operation, Policy};
use crate::{Error, ErrorKind, Result};

/// How long each kind of call may take; what streams is only bounded until its stream stands, and what reports that it waits
/// ([`Waiting`](crate::Waiting)) only between two reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeoutSettings {
    /// Looking at things.
    pub read: Duration,
    /// Making, starting and removing things.
    pub change: Duration,
    /// Asking a registry.
    pub registry: Duration,
    /// What a stop may take beyond its grace.
    pub stop_margin: Duration,
}

impl Default for TimeoutSettings {
    fn default() -> Self {
        Self {
            read: Duration::from_secs(30),
            change: Duration::from_secs(120),
            registry: Duration::from_secs(60),
            stop_margin: Duration::from_secs(30),
        }
    }
}

/// Ends a call when its time is over, at the caller's deadline, or when the caller withdraws.
#[derive(Debug, Clone, Default)]
pub struct Timeout {
    settings: TimeoutSettings,
}

impl Timeout {
    /// With these settings.
    pub const fn new(settings: TimeoutSettings) -> Self {
        Self { settings }
    }

    /// The table; `None`: without bound.
    fn allowed(&self, call: &Call<'_>) -> Option<Duration> {
        match call.operation {
            Operation::Probe
            | Operation::Inspect
            | Operation::List
            | Operation::Watch
            | Operation::Image
            | Operation::Images
            | Operation::ImagesUnused
            | Operation::Logs
            | Operation::Exec
            | Operation::Attach
            | Operation::Stats
            | Operation::NetworkList
            | Operation::VolumeList
            | Operation::SnapshotList
            | Operation::SnapshotMounts
            | Operation::ArchiveLook
            | Operation::ArchiveRead => Some(self.settings.read),
            Operation::Create
            | Operation::Run
            | Operation::Start
            | Operation::Signal
            | Operation::Remove
            | Operation::ImageRemove
            | Operation::ImageDiscard
            | Operation::Tag
            | Operation::NetworkEnsure
            | Operation::NetworkRemove
            | Operation::VolumeEnsure
            | Operation::VolumeRemove
            | Operation::SnapshotRemove => Some(self.settings.change),
            Operation::Resolve => Some(self.settings.registry),
            Operation::Stop => {
                call.stop.map(|how| how.grace.saturating_add(self.settings.stop_margin)).or(Some(self.settings.change))
            }
            Operation::Pull
            | Operation::Push
            | Operation::Build
            | Operation::Load
            | Operation::SnapshotCommit
            | Operation::ArchiveWrite => None,
        }
    }
}

impl Policy for Timeout {
    async fn around<'a, T, F>(&'a self, call: Call<'a>, act: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let begun = Instant::now();
        let allowed = self.allowed(&call);
        let operation = call.operation.name();
        tokio::select! {
            biased;
            () = call.cx.cancel.cancelled() => {
                Err(Error::new(ErrorKind::Cancelled, operation, "the caller withdrew the operation"))
            }
            callers = silent(&call, begun, allowed) => Err(late(&call, callers)),
            outcome = act() => outcome,
        }
    }
}

/// Ends when nothing was reported for the time allowed, or at the caller's deadline: then it gives `true`.
async fn silent(call: &Call<'_>, begun: Instant, allowed: Option<Duration>) -> bool {
    loop {
        let last = call.cx.waiting.last().map_or(begun, |(_, at)| at.max(begun));
        let ours = allowed.and_then(|allowed| last.checked_add(allowed));
        let end = [ours, call.cx.deadline].into_iter().flatten().min();
        passed(end).await;
        let reported = call.cx.waiting.last().is_some_and(|(_, at)| at > last);
        if end != ours || !reported {
            return end != ours;
        }
    }
}

async fn passed(end: Option<Instant>) {
    match end {
        // A timer would let one more poll through.
        Some(at) if at <= Instant::now() => {}
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn late(call: &Call<'_>, callers: bool) -> Error {
    let whose = if callers { "the caller's deadline" } else { "the time allowed for it" };
    let words = match call.cx.waiting.last() {
        Some((pending, _)) => format!("runtime `{}` has not started it within {whose}: {pending}", call.info.name),
        None => format!("runtime `{}` did not answer within {whose}", call.info.name),
    };
    Error::new(ErrorKind::Timeout, call.operation.name(), words)
}
