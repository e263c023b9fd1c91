//! Alerts: hooks (a command or a webhook) that are run when something happens to workloads or runtimes.
//!
//! For: deciding what is an alert from events and a clock (`rules.rs`, `evaluate.rs`, `restarts.rs`, pure), following the event stream
//! (`follow.rs`), and running hooks, a few at a time, each with a time limit. Not for: anything that a hook's result would change.

mod command;
mod config;
mod evaluate;
mod follow;
mod message;
mod restarts;
mod rules;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use hythe_controller::Controller;
use hythe_runtime::Clock;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

pub(crate) use config::{Hook, parse};
pub(crate) use follow::Counts;

use follow::AlertLog;
use message::Message;
use rules::Alert;

/// Alerts that may wait for their hook; further ones are dropped and counted.
const QUEUE: usize = 64;
/// Hooks that run at once.
const AT_ONCE: usize = 4;

/// Follows the events after this cursor and runs the hooks, until shutdown. Without a hook nothing is started.
pub(crate) fn start(
    controller: &Arc<Controller>,
    hooks: Vec<Hook>,
    after: u64,
    shutdown: CancellationToken,
) -> Arc<Counts> {
    let counts = Arc::<Counts>::default();
    if hooks.is_empty() {
        return counts;
    }
    let (queue, alerts) = mpsc::channel(QUEUE);
    let rules = hooks.iter().map(|hook| hook.rule.clone()).collect();
    let log = Arc::new(AlertLog::new(controller.events().clone(), Clock::system(), counts.clone()));
    tokio::spawn(log.clone().follow(rules, after, queue, shutdown));
    tokio::spawn(deliver_all(Deliveries { log, agent: controller.owner().to_owned() }, hooks, alerts));
    counts
}

/// What every delivery needs.
#[derive(Debug, Clone)]
struct Deliveries {
    log: Arc<AlertLog>,
    agent: String,
}

async fn deliver_all(deliveries: Deliveries, hooks: Vec<Hook>, mut alerts: mpsc::Receiver<Alert>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let hooks: Vec<Arc<Hook>> = hooks.into_iter().map(Arc::new).collect();
    while let Some(alert) = alerts.recv().await {
        let Some(hook) = hooks.get(alert.rule).cloned() else {
            continue;
        };
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let deliveries = deliveries.clone();
        tokio::spawn(async move {
            deliveries.deliver(&hook, &alert).await;
            drop(place);
        });
    }
}

impl Deliveries {
    /// Runs the command and calls the webhook that the hook has; a failure of one does not affect the other.
    async fn deliver(&self, hook: &Hook, alert: &Alert) {
        let message = Message::new(alert, &self.agent);
        let command = async {
            if let Some(command) = &hook.command {
                let outcome = within(hook.timeout, command::run(command, &message)).await;
                self.log.delivered(alert, &format!("`{}`", command[0]), outcome);
            }
        };
        let webhook = async {
            if let Some(webhook) = &hook.webhook {
                let outcome = within(hook.timeout, webhook::post(webhook, &message)).await;
                self.log.delivered(alert, &format!("`{}`", webhook::shown(webhook)), outcome);
            }
        };
        tokio::join!(command, webhook);
    }
}

async fn within(limit: Duration, delivery: impl Future<Output = Result<String, String>>) -> Result<String, String> {
    let over = || format!("not done after {} ms", limit.as_millis());
    tokio::time::timeout(limit, delivery).await.unwrap_or_else(|_| Err(over()))
}
