//! Follows the stream of events and hands out what is to be told; never waits for whoever tells it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hythe_store::{EventFilter, NewEvent, Transaction};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::{Alert, Evaluator, Rule};
use crate::Controller;

/// Events looked at between two looks at the clock.
const PAGE: u32 = 256;
/// Pause after a store that could not be read.
const PAUSE: Duration = Duration::from_secs(1);

/// Alerts since the agent started, by what became of them.
#[derive(Debug, Default)]
pub struct Counts {
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    /// Each with its name.
    pub fn all(&self) -> [(&'static str, u64); 3] {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [("sent", count(&self.sent)), ("failed", count(&self.failed)), ("dropped", count(&self.dropped))]
    }
}

impl Controller {
    /// Puts the alerts that events after this cursor call for in the queue, until shutdown. Where the queue is full they are dropped, counted and logged.
    pub async fn follow_alerts(self: Arc<Self>, rules: Vec<Rule>, after: u64, queue: mpsc::Sender<Alert>) {
        let mut live = self.events.listen();
        let mut evaluator = Evaluator::new(rules);
        let mut filter = EventFilter { after, ..EventFilter::default() };
        loop {
            let more = self.evaluate(&mut evaluator, &mut filter, &queue);
            if more == Some(true) {
                tokio::task::yield_now().await;
                continue;
            }
            let due = if more.is_some() { evaluator.next_tick() } else { Timestamp::now().checked_add(PAUSE).ok() };
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = until(due) => {}
                told = live.recv() => if matches!(told, Err(RecvError::Closed)) {
                    return;
                },
            }
        }
    }

    /// Whether there is more to look at; `None` when the store could not be read.
    fn evaluate(
        &self,
        evaluator: &mut Evaluator,
        filter: &mut EventFilter,
        queue: &mpsc::Sender<Alert>,
    ) -> Option<bool> {
        let page = match self.events.page(filter, PAGE) {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, "events were not looked at for alerts");
                return None;
            }
        };
        if page.oldest > filter.after + 1 {
            tracing::warn!(
                events = page.oldest - filter.after - 1,
                "events were forgotten before they were looked at for alerts"
            );
        }
        filter.after = page.reached;
        let now = Timestamp::now();
        let alerts = page.events.iter().flat_map(|event| evaluator.take(event, now)).collect::<Vec<_>>();
        for alert in alerts.into_iter().chain(evaluator.tick(now)) {
            if let Err(error) = queue.try_send(alert) {
                self.alerts.dropped.fetch_add(1, Ordering::Relaxed);
                let (mpsc::error::TrySendError::Full(alert) | mpsc::error::TrySendError::Closed(alert)) = error;
                tracing::warn!(
                    alert = alert.kind.as_str(),
                    subject = alert.subject,
                    "too many alerts wait to be told: this one is dropped"
                );
            }
        }
        Some(page.events.len() >= PAGE as usize)
    }

    /// Writes down what became of an alert: an event of its own, which calls for no alert. `by` is what told it, the outcome its last words.
    pub fn alert_told(&self, alert: &Alert, by: &str, outcome: Result<String, String>) {
        let (kind, counter, message) = match &outcome {
            Ok(words) => ("alert.sent", &self.alerts.sent, format!("{}: told by {by} ({words})", alert.kind.as_str())),
            Err(words) => {
                ("alert.failed", &self.alerts.failed, format!("{}: not told by {by}: {words}", alert.kind.as_str()))
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if outcome.is_err() {
            tracing::warn!(alert = alert.kind.as_str(), subject = alert.subject, "{message}");
        }
        let about = &alert.event.event;
        let details = json!({
            "alert": alert.kind.as_str(), "subject": alert.subject, "rule": alert.rule, "cause": alert.event.cursor, "message": alert.message,
        });
        let event = NewEvent {
            time: Timestamp::now(),
            runtime: about.runtime.clone(),
            service: about.service.clone(),
            workload: about.workload.clone(),
            kind: kind.to_owned(),
            message,
            details,
        };
        if let Err(error) = self.events.commit(&Transaction { events: vec![event], ..Transaction::default() }) {
            tracing::warn!(%error, "what became of an alert was not stored");
        }
    }

    /// Alerts since the start, by what became of them.
    pub fn alert_counts(&self) -> &Counts {
        &self.alerts
    }
}

async fn until(time: Option<Timestamp>) {
    match time {
        Some(time) => {
            let wait = Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default();
            tokio::time::sleep(wait).await;
        }
        None => std::future::pending().await,
    }
}
