//! Follows the event stream, queues alerts without ever waiting for their delivery, and records what became of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hythe_controller::EventHub;
use hythe_runtime::Clock;
use hythe_store::{EventFilter, EventKind, NewEvent};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::evaluate::Evaluator;
use super::rules::{Alert, Rule};

/// Events evaluated between two looks at the clock.
const PAGE: u32 = 256;
/// Pause after a store that could not be read.
const PAUSE: Duration = Duration::from_secs(1);

/// Alerts since the agent started, by outcome.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    /// Each with its name.
    pub(crate) fn all(&self) -> [(&'static str, u64); 3] {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [("sent", count(&self.sent)), ("failed", count(&self.failed)), ("dropped", count(&self.dropped))]
    }
}

/// The event stream as alerts use it.
#[derive(Debug)]
pub(super) struct AlertLog {
    events: Arc<EventHub>,
    clock: Clock,
    counts: Arc<Counts>,
}

impl AlertLog {
    pub(super) const fn new(events: Arc<EventHub>, clock: Clock, counts: Arc<Counts>) -> Self {
        Self { events, clock, counts }
    }

    /// Queues the alerts of events after this cursor, until shutdown. If the queue is full they are dropped, counted and logged.
    pub(super) async fn follow(
        self: Arc<Self>,
        rules: Vec<Rule>,
        after: u64,
        queue: mpsc::Sender<Alert>,
        shutdown: CancellationToken,
    ) {
        let mut live = self.events.listen();
        let mut evaluator = Evaluator::new(rules);
        let mut filter = EventFilter { after, ..EventFilter::default() };
        loop {
            let more = self.evaluate(&mut evaluator, &mut filter, &queue);
            if more == Some(true) {
                tokio::task::yield_now().await;
                continue;
            }
            let due = if more.is_some() { evaluator.next_tick() } else { self.clock.now().checked_add(PAUSE).ok() };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = self.until(due) => {}
                woken = live.recv() => if matches!(woken, Err(RecvError::Closed)) {
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
                tracing::warn!(%error, "events were not evaluated for alerts");
                return None;
            }
        };
        if page.oldest > filter.after + 1 {
            tracing::warn!(
                events = page.oldest - filter.after - 1,
                "events were removed before they were evaluated for alerts"
            );
        }
        filter.after = page.reached;
        let now = self.clock.now();
        let alerts = page.events.iter().flat_map(|event| evaluator.take(event, now)).collect::<Vec<_>>();
        for alert in alerts.into_iter().chain(evaluator.tick(now)) {
            if let Err(error) = queue.try_send(alert) {
                self.counts.dropped.fetch_add(1, Ordering::Relaxed);
                let (mpsc::error::TrySendError::Full(alert) | mpsc::error::TrySendError::Closed(alert)) = error;
                tracing::warn!(
                    alert = alert.kind.as_str(),
                    subject = alert.subject,
                    "too many alerts are waiting: this one is dropped"
                );
            }
        }
        Some(page.events.len() >= PAGE as usize)
    }

    /// Records a delivery as an event, which causes no alert itself. `by` is the command or webhook, the outcome its last output.
    pub(super) fn delivered(&self, alert: &Alert, by: &str, outcome: Result<String, String>) {
        let (kind, counter, message) = match &outcome {
            Ok(words) => {
                (EventKind::AlertSent, &self.counts.sent, format!("{}: sent by {by} ({words})", alert.kind.as_str()))
            }
            Err(words) => (
                EventKind::AlertFailed,
                &self.counts.failed,
                format!("{}: not sent by {by}: {words}", alert.kind.as_str()),
            ),
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
            time: self.clock.now(),
            runtime: about.runtime.clone(),
            service: about.service.clone(),
            workload: about.workload.clone(),
            kind: kind.into(),
            message,
            details,
        };
        if let Err(error) = self.events.report(event) {
            tracing::warn!(%error, "the outcome of an alert was not stored");
        }
    }

    async fn until(&self, time: Option<Timestamp>) {
        match time {
            Some(time) => {
                let wait = Duration::try_from(time.duration_since(self.clock.now())).unwrap_or_default();
                tokio::time::sleep(wait).await;
            }
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use hythe_controller::{Controller, Settings};
    use hythe_store::Store;

    use super::*;
    use crate::alerts::rules::{Flapping, Kind};

    struct Fixture {
        controller: Arc<Controller>,
        counts: Arc<Counts>,
        log: Arc<AlertLog>,
        shutdown: CancellationToken,
        _directory: tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(&directory.path().join("hythe.db")).unwrap().store;
            let controller = Controller::start(Settings::new("owner"), Arc::new(store), Vec::new()).unwrap();
            let counts = Arc::<Counts>::default();
            let log = Arc::new(AlertLog::new(controller.events().clone(), Clock::system(), counts.clone()));
            Self { controller, counts, log, shutdown: CancellationToken::new(), _directory: directory }
        }

        fn follow(&self, on: Kind, after: u64, queue: mpsc::Sender<Alert>) {
            tokio::spawn(self.log.clone().follow(vec![rule(on)], after, queue, self.shutdown.clone()));
        }

        fn report(&self, kind: &str, workload: Option<String>) {
            let event = NewEvent {
                time: hythe_runtime::Clock::system().now(),
                runtime: Some("r".to_owned()),
                service: None,
                workload,
                kind: hythe_store::OpenEnum::read(kind),
                message: "m".to_owned(),
                details: json!({}),
            };
            self.controller.events().report(event).unwrap();
        }
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

    #[tokio::test]
    async fn follow_from_cursor_misses_no_later_event() {
        let fixture = Fixture::new();
        fixture.report("unhealthy", Some("old".to_owned()));
        let (_, newest) = fixture.controller.events().bounds().unwrap();
        // More than one page, and more than a listener may be behind.
        for at in 0..600 {
            fixture.report("unhealthy", Some(format!("w{at}")));
        }
        let (queue, mut alerts) = mpsc::channel(2000);
        fixture.follow(Kind::Unhealthy, newest, queue);
        for at in 600..1200 {
            fixture.report("unhealthy", Some(format!("w{at}")));
            tokio::task::yield_now().await;
        }
        for at in 0..1200 {
            assert_eq!(alerts.recv().await.unwrap().subject, format!("w{at}"));
        }
        fixture.shutdown.cancel();
        assert!(alerts.recv().await.is_none(), "it ends at shutdown");
    }

    #[tokio::test]
    async fn full_queue_drops_and_counts_alerts() {
        let fixture = Fixture::new();
        let (queue, mut alerts) = mpsc::channel(1);
        fixture.follow(Kind::Unhealthy, 0, queue);
        for at in 0..3 {
            fixture.report("unhealthy", Some(format!("w{at}")));
        }
        while fixture.counts.all()[2] != ("dropped", 2) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let alert = alerts.recv().await.unwrap();
        fixture.log.delivered(&alert, "`x`", Ok("fine".to_owned()));
        fixture.log.delivered(&alert, "`x`", Err("no".to_owned()));
        assert_eq!(fixture.counts.all(), [("sent", 1), ("failed", 1), ("dropped", 2)]);
        let kinds: Vec<_> =
            fixture.controller.events().read(&EventFilter { after: 3, ..EventFilter::default() }).unwrap();
        assert_eq!(
            kinds.iter().map(|record| record.event.kind.as_str()).collect::<Vec<_>>(),
            ["alert.sent", "alert.failed"]
        );
    }

    #[tokio::test]
    async fn lost_runtime_is_an_alert_without_further_events() {
        let fixture = Fixture::new();
        let (queue, mut alerts) = mpsc::channel(1);
        fixture.follow(Kind::RuntimeLost, 0, queue);
        fixture.report("runtime.disconnected", None);
        let alert = tokio::time::timeout(Duration::from_secs(10), alerts.recv()).await.unwrap().unwrap();
        assert_eq!((alert.kind, alert.subject.as_str()), (Kind::RuntimeLost, "r"));
    }
}
