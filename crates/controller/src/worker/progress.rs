//! The request that waits for a workload: its progress is reported, and it is answered once.

use std::time::Duration;

use hythe_runtime::{Error, ErrorKind};
use hythe_spec::vocabulary::{EventKind, ProgressPhase};
use hythe_store::{Desired, DesiredRecord, HealthState, ObservedRecord, Phase};

use super::Worker;
use crate::lifecycle::{self, Input, Note, Step};
use crate::message::{Message, Request};
use crate::model::error_of;

/// Longest time between a change of what is desired and the message of whoever asked for it.
const ASKED: Duration = Duration::from_millis(50);

impl Worker {
    /// The newest request is answered when there is an answer; the request before it fails with the name of the newer one.
    pub(super) fn supersede(&mut self, request: Request) {
        let (earlier, later) = match self.request.take() {
            None => (None, request),
            Some(known) if known.number > request.number => (Some(request), known),
            Some(known) => (Some(known), request),
        };
        if let Some(earlier) = earlier {
            let record = later.operation.record();
            let words = format!("superseded by {} `{}`", record.kind, record.id);
            let error = Error::new(ErrorKind::Cancelled, "converge", words);
            let _ = earlier.reply.send(Err(error.hint("`hythe operations` shows what became of that one")));
        }
        self.request = Some(later);
    }

    pub(super) fn take_withdrawal(&mut self) {
        let withdrawn = self.request.as_ref().is_some_and(|request| request.operation.context().cancel.is_cancelled());
        if withdrawn {
            self.answer(Err(Error::new(ErrorKind::Cancelled, "converge", "cancelled")));
            self.observe(Input::Withdrawn);
        }
    }

    /// What is desired is newer than the request that would be answered now: whoever asked for it is heard first, if it was somebody.
    pub(super) async fn newer_request(&mut self) -> Option<Message> {
        let desired = self.desired();
        let is_older = self.request.as_ref().is_some_and(|request| request.number < desired.requests);
        if !is_older || lifecycle::request_is_answered(&desired, &self.observed).is_none() {
            return None;
        }
        tokio::time::timeout(ASKED, self.inbox.recv()).await.ok().flatten()
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

    pub(super) fn phase(&self, phase: ProgressPhase, message: impl Into<String>) {
        if let Some(request) = &self.request {
            request.operation.phase(&self.desired().name, phase, message);
        }
    }

    pub(super) fn report_step(&self, step: Step, desired: &DesiredRecord) {
        let rolls_back = self.observed.rollback.is_some();
        match step {
            Step::Run => self.phase(ProgressPhase::Starting, format!("starting on {}", desired.placement.runtime)),
            Step::Start => self.phase(ProgressPhase::Starting, "starting"),
            Step::Signal => self.phase(ProgressPhase::Signal, "sending a signal: mounted files have changed"),
            Step::StopCurrent if rolls_back => self.phase(ProgressPhase::Stopping, "stopping what failed"),
            Step::StopCurrent => self.phase(ProgressPhase::Stopping, "stopping"),
            Step::StopPrevious => self.phase(ProgressPhase::Stopping, "stopping the instance it replaces"),
            Step::RemovePrevious => self.phase(ProgressPhase::Removing, "removing the instance it replaced"),
            Step::RemoveCurrent if desired.desired == Desired::Removed => {
                self.phase(ProgressPhase::Removing, "removing")
            }
            Step::Inspect
            | Step::MakeVolumes
            | Step::MakeNetworks
            | Step::Pull
            | Step::RemoveCurrent
            | Step::PruneStrays
            | Step::Undeploy => {}
        }
    }

    /// Reports to the waiting request what has changed.
    pub(super) fn report(&self, next: &ObservedRecord, notes: &[Note]) {
        if self.request.is_none() {
            return;
        }
        if next.phase == Phase::Running && self.observed.phase == Phase::Starting {
            self.phase(ProgressPhase::Running, "runs");
            if next.health == HealthState::Starting {
                self.phase(ProgressPhase::Waiting, "waiting for its health probe");
            }
        }
        let waits = next.phase == Phase::Pending || lifecycle::is_ahead(next);
        if let Some(message) = next.message.as_ref().filter(|_| waits)
            && self.observed.message != next.message
        {
            self.phase(ProgressPhase::Waiting, message.clone());
        }
        if next.phase == Phase::Stopped && self.observed.phase != Phase::Stopped {
            self.phase(ProgressPhase::Stopped, "stopped");
        }
        for note in notes {
            match note.kind {
                EventKind::Ready => self.phase(ProgressPhase::Healthy, "healthy"),
                EventKind::Failed => self.phase(ProgressPhase::Failed, note.message.clone()),
                EventKind::RolledBack => self.phase(ProgressPhase::Removing, note.message.clone()),
                _ => {}
            }
        }
    }
}
