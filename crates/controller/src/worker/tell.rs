//! Who waits for a workload: told what is done, and answered once.

use hythe_runtime::{Error, ErrorKind};
use hythe_store::{Desired, DesiredRecord, Failure, HealthState, ObservedRecord, Phase};

use super::{Request, Worker};
use crate::lifecycle::{self, Input, Note, Step};

impl Worker {
    pub(super) fn supersede(&mut self, request: Request) {
        if let Some(earlier) = self.request.replace(request) {
            let error = Error::new(ErrorKind::Cancelled, "converge", "a newer request took its place");
            let _ = earlier.reply.send(Err(error));
        }
    }

    pub(super) fn take_withdrawal(&mut self) {
        let withdrawn = self.request.as_ref().is_some_and(|request| request.operation.context().cancel.is_cancelled());
        if withdrawn {
            self.answer(Err(Error::new(ErrorKind::Cancelled, "converge", "cancelled")));
            self.observe(Input::Withdrawn);
        }
    }

    pub(super) fn answer_if_done(&mut self) {
        if self.request.is_none() {
            return;
        }
        let desired = self.desired();
        match lifecycle::request_is_answered(&desired, &self.observed) {
            Some(Ok(())) => self.answer(Ok(())),
            Some(Err(failure)) => self.answer(Err(error_of(&failure))),
            None => {}
        }
    }

    /// Ends the request, if any, with this outcome.
    pub(super) fn answer(&mut self, outcome: Result<(), Error>) {
        if let Some(request) = self.request.take() {
            let _ = request.reply.send(outcome);
        }
    }

    pub(super) fn phase(&self, phase: &'static str, message: impl Into<String>) {
        if let Some(request) = &self.request {
            request.operation.phase(&self.desired().name, phase, message);
        }
    }

    pub(super) fn tell_step(&self, step: Step, desired: &DesiredRecord) {
        let rolls_back = self.observed.undo.is_some();
        match step {
            Step::Run => self.phase("starting", format!("starting on {}", desired.placement.runtime)),
            Step::Start => self.phase("starting", "starting"),
            Step::StopCurrent if rolls_back => self.phase("stopping", "stopping what failed"),
            Step::StopCurrent => self.phase("stopping", "stopping"),
            Step::StopPrevious => self.phase("stopping", "stopping the instance it replaces"),
            Step::RemovePrevious => self.phase("removing", "removing the instance it replaced"),
            Step::RemoveCurrent if desired.desired == Desired::Removed => self.phase("removing", "removing"),
            Step::Look
            | Step::MakeVolumes
            | Step::MakeNetworks
            | Step::Pull
            | Step::RemoveCurrent
            | Step::Sweep
            | Step::Forget => {}
        }
    }

    /// Tells whoever waits what has changed.
    pub(super) fn report(&self, next: &ObservedRecord, notes: &[Note]) {
        if self.request.is_none() {
            return;
        }
        if next.phase == Phase::Running && self.observed.phase == Phase::Starting {
            self.phase("running", "runs");
            if next.health == HealthState::Starting {
                self.phase("waiting", "waiting for its health probe");
            }
        }
        if let (Phase::Pending, Some(message)) = (next.phase, &next.message)
            && self.observed.message != next.message
        {
            self.phase("waiting", message.clone());
        }
        if next.phase == Phase::Stopped && self.observed.phase != Phase::Stopped {
            self.phase("stopped", "stopped");
        }
        for note in notes {
            match note.kind {
                "ready" => self.phase("healthy", "healthy"),
                "failed" => self.phase("failed", note.message.clone()),
                "rolled-back" => self.phase("removing", note.message.clone()),
                _ => {}
            }
        }
    }
}

/// A failure of the records as the error it was.
fn error_of(failure: &Failure) -> Error {
    let kind = serde_json::from_value(serde_json::Value::String(failure.kind.clone())).unwrap_or(ErrorKind::Internal);
    let error = Error::new(kind, "converge", failure.message.clone());
    match &failure.hint {
        Some(hint) => error.hint(hint.clone()),
        None => error,
    }
}
