//! Waiting for what was asked for to be true, or for why it will not be.

use std::sync::Arc;
use std::time::Duration;

use hythe_runtime::{Error, ErrorKind};
use hythe_spec::vocabulary::ProgressPhase;
use hythe_store::{Desired, DesiredRecord, ObservedRecord};
use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::message::{Message, Request};
use crate::model::{WorkloadState, error_of};
use crate::registry::WorkloadHandle;
use crate::{Controller, OperationHandle, lifecycle, policy};

/// Time between two checks of a state that has not changed.
const RECHECK: Duration = Duration::from_secs(1);

/// Waits until every task has made true what is desired; the errors are merged.
pub(crate) async fn converge_all(operation: &Arc<OperationHandle>, handles: Vec<WorkloadHandle>) -> Result<(), Error> {
    let mut waiting = Vec::new();
    for handle in handles {
        let (reply, outcome) = oneshot::channel();
        let request = Request { operation: operation.clone(), number: handle.request, reply };
        handle.send(Message::Asked(request));
        waiting.push(outcome);
    }
    let mut errors = Vec::new();
    for outcome in waiting {
        if let Ok(Err(error)) = outcome.await {
            errors.push(error);
        }
    }
    merge(errors)
}

/// Waits, beside whoever asked for it, until all is as desired or known not to be.
pub(crate) async fn await_all(
    controller: &Arc<Controller>,
    operation: &Arc<OperationHandle>,
    handles: Vec<WorkloadHandle>,
) -> Result<(), Error> {
    loop {
        let outcomes = handles.iter().map(|handle| await_one(controller, operation, handle));
        let outcomes = futures_util::future::join_all(outcomes).await;
        merge(outcomes.into_iter().filter_map(Result::err).collect())?;
        // One may have ended while another was waited for.
        if handles.iter().all(|handle| is_well(&handle.state.borrow(), controller.now())) {
            return Ok(());
        }
    }
}

async fn await_one(
    controller: &Arc<Controller>,
    operation: &Arc<OperationHandle>,
    handle: &WorkloadHandle,
) -> Result<(), Error> {
    let mut states = handle.state.subscribe();
    let (mut requests, mut reported): (Option<u64>, Option<String>) = (None, None);
    loop {
        let WorkloadState { desired: newest, observed } = states.borrow_and_update().clone();
        if *requests.get_or_insert(newest.requests) != newest.requests {
            return Err(Error::new(ErrorKind::Cancelled, "converge", "superseded by a newer request"));
        }
        if let Some(outcome) = outcome_of(&newest, &observed, controller.now()) {
            if let Err(error) = &outcome {
                operation.phase(&newest.name, ProgressPhase::Failed, error.message());
            }
            return outcome;
        }
        if observed.message != reported {
            reported.clone_from(&observed.message);
            operation.phase(&newest.name, ProgressPhase::Waiting, reported.as_deref().unwrap_or_default());
        }
        // That an instance stays up shows with time alone.
        if let Ok(Err(_)) = tokio::time::timeout(RECHECK, states.changed()).await {
            return Err(Error::new(ErrorKind::Cancelled, "converge", "it was undeployed"));
        }
    }
}

/// Whether it is as desired, beyond doubt.
pub(crate) fn is_well(state: &WorkloadState, now: Timestamp) -> bool {
    matches!(outcome_of(&state.desired, &state.observed, now), Some(Ok(())))
}

/// What has been ending again and again is up only once it stays so.
fn outcome_of(desired: &DesiredRecord, observed: &ObservedRecord, now: Timestamp) -> Option<Result<(), Error>> {
    let started = observed.current.as_ref().and_then(|current| current.started);
    let young =
        started.is_some_and(|started| now.duration_since(started) < policy::STABLE.try_into().unwrap_or_default());
    match lifecycle::request_is_answered(desired, observed)? {
        Ok(()) if desired.desired == Desired::Running && observed.failures > 0 && young => None,
        Ok(()) => Some(Ok(())),
        Err(failure) => Some(Err(error_of(&failure))),
    }
}

fn merge(mut errors: Vec<Error>) -> Result<(), Error> {
    match errors.len() {
        0 => Ok(()),
        1 => Err(errors.remove(0)),
        _ => {
            let texts: Vec<&str> = errors.iter().map(Error::message).collect();
            let kind = errors.first().map_or(ErrorKind::Internal, Error::kind);
            Err(Error::new(kind, "converge", texts.join("\n")))
        }
    }
}
