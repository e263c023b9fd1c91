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
                biased;
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use hythe_store::Store;

    use super::*;
    use crate::Settings;
    use crate::alerts::{Flapping, Kind};

    fn controller(dir: &tempfile::TempDir) -> Arc<Controller> {
        let store = Store::open(&dir.path().join("hythe.db")).unwrap().store;
        let settings = Settings::new("owner");
        Controller::start(settings, Arc::new(store), Vec::new()).unwrap()
    }

    fn rule(on: Kind) -> Rule {
        Rule {
            on: [on].into(),
            service: None,
            cooldown: Duration::from_secs(60),
            flapping: Flapping::default(),
            lost_after: Duration::from_millis(50),
        }
    }

    fn tell(controller: &Controller, kind: &str, workload: Option<String>) {
        let event = NewEvent {
            time: Timestamp::now(),
            runtime: Some("r".to_owned()),
            service: None,
            workload,
            kind: kind.to_owned(),
            message: "m".to_owned(),
            details: json!({}),
        };
        controller.events.commit(&Transaction { events: vec![event], ..Transaction::default() }).unwrap();
    }

    #[tokio::test]
    async fn events_before_the_cursor_are_over_and_none_after_it_is_missed() {
        let dir = tempfile::tempdir().unwrap();
        let controller = controller(&dir);
        tell(&controller, "unhealthy", Some("old".to_owned()));
        let (_, newest) = controller.events.bounds().unwrap();
        // More than one page, and more than a listener may be behind.
        for at in 0..600 {
            tell(&controller, "unhealthy", Some(format!("w{at}")));
        }
        let (queue, mut alerts) = mpsc::channel(2000);
        tokio::spawn(controller.clone().follow_alerts(vec![rule(Kind::Unhealthy)], newest, queue));
        for at in 600..1200 {
            tell(&controller, "unhealthy", Some(format!("w{at}")));
            tokio::task::yield_now().await;
        }
        for at in 0..1200 {
            assert_eq!(alerts.recv().await.unwrap().subject, format!("w{at}"));
        }
        controller.shutdown();
        assert!(alerts.recv().await.is_none(), "it ends with the controller");
    }

    #[tokio::test]
    async fn a_queue_that_nobody_empties_holds_nothing_up_and_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let controller = controller(&dir);
        let (queue, mut alerts) = mpsc::channel(1);
        tokio::spawn(controller.clone().follow_alerts(vec![rule(Kind::Unhealthy)], 0, queue));
        for at in 0..3 {
            tell(&controller, "unhealthy", Some(format!("w{at}")));
        }
        while controller.alert_counts().all()[2] != ("dropped", 2) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let alert = alerts.recv().await.unwrap();
        controller.alert_told(&alert, "`x`", Ok("fine".to_owned()));
        controller.alert_told(&alert, "`x`", Err("no".to_owned()));
        assert_eq!(controller.alert_counts().all(), [("sent", 1), ("failed", 1), ("dropped", 2)]);
        let kinds: Vec<_> = controller.events.read(&EventFilter { after: 3, ..EventFilter::default() }).unwrap();
        assert_eq!(
            kinds.iter().map(|record| record.event.kind.as_str()).collect::<Vec<_>>(),
            ["alert.sent", "alert.failed"]
        );
    }

    #[tokio::test]
    async fn a_runtime_that_stays_away_is_told_when_its_time_is_over_though_nothing_happens() {
        let dir = tempfile::tempdir().unwrap();
        let controller = controller(&dir);
        let (queue, mut alerts) = mpsc::channel(1);
        tokio::spawn(controller.clone().follow_alerts(vec![rule(Kind::RuntimeLost)], 0, queue));
        tell(&controller, "runtime.disconnected", None);
        let alert = tokio::time::timeout(Duration::from_secs(10), alerts.recv()).await.unwrap().unwrap();
        assert_eq!((alert.kind, alert.subject.as_str()), (Kind::RuntimeLost, "r"));
    }
}
