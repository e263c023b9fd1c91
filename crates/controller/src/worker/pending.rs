//! A start that waits in its engine: what for, and until when it is waited for.

use std::pin::pin;

use hythe_runtime::{Error, ErrorKind, OpContext, Pending, Reports};
use hythe_spec::vocabulary::ProgressPhase;
use hythe_store::DesiredRecord;

use super::Worker;
use crate::lifecycle::Input;
use crate::message::Message;

impl Worker {
    /// Goes on to the end of what starts an instance, and says what it waits for while it is pending; only then it ends as well when
    /// something newer is desired or the request is withdrawn. Before, nobody knows what the engine has begun.
    pub(super) async fn while_pending<T>(
        &mut self,
        desired: &DesiredRecord,
        cx: &OpContext,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut reports = cx.waiting.reports();
        let mut said = None;
        let mut work = pin!(work);
        let mut state = self.state.subscribe();
        loop {
            let pending = said.is_some();
            let request = self.request.as_ref();
            let cancel = request.map(|request| request.operation.context().cancel).unwrap_or_default();
            let report = tokio::select! {
                biased;
                outcome = &mut work => return outcome,
                Some(message) = self.inbox.recv() => {
                    self.take_during_a_step(message, said.as_ref());
                    continue;
                }
                Ok(_) = state.wait_for(|state| state.desired != *desired), if pending => None,
                () = cancel.cancelled(), if pending => None,
                report = other_report(&mut reports, said.as_ref()) => Some(report),
            };
            let Some(report) = report else {
                return Err(Error::new(ErrorKind::Cancelled, "converge", "a newer request took its place"));
            };
            self.phase(ProgressPhase::Waiting, report.to_string());
            self.observe(Input::Waiting(report.clone()));
            said = Some(report);
        }
    }

    /// Whoever asks is told from now on; what is heard of the engine is for after the step.
    fn take_during_a_step(&mut self, message: Message, waits_for: Option<&Pending>) {
        match message {
            Message::Asked(request) => {
                self.supersede(request);
                if let Some(pending) = waits_for {
                    self.phase(ProgressPhase::Waiting, pending.to_string());
                }
            }
            heard => self.heard.push_back(heard),
        }
    }
}

/// The next report of another thing to wait for than was said.
async fn other_report(reports: &mut Reports, said: Option<&Pending>) -> Pending {
    loop {
        if reports.changed().await.is_err() {
            return std::future::pending().await;
        }
        let report = reports.borrow_and_update().clone().map(|(pending, _)| pending);
        if let Some(pending) = report.filter(|pending| Some(pending) != said) {
            return pending;
        }
    }
}
