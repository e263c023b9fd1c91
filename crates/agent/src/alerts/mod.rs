//! Telling alerts: a command is run or a webhook is called, a few at a time, each with a limit of time.
//!
//! For: the effects. Not for: deciding what is an alert (see the controller's `alerts`).

mod command;
mod config;
mod message;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use hythe_controller::Controller;
use hythe_controller::alerts::Alert;
use tokio::sync::{Semaphore, mpsc};

pub(crate) use config::{Hook, parse};
use message::Message;

/// Alerts that may wait to be told; further ones are dropped and counted.
const QUEUE: usize = 64;
/// Hooks at work at once.
const AT_ONCE: usize = 4;

/// Starts to follow the events after this cursor and to tell. Without a hook nothing is started.
pub(crate) fn start(controller: &Arc<Controller>, hooks: Vec<Hook>, after: u64) {
    if hooks.is_empty() {
        return;
    }
    let (queue, alerts) = mpsc::channel(QUEUE);
    let rules = hooks.iter().map(|hook| hook.rule.clone()).collect();
    tokio::spawn(controller.clone().follow_alerts(rules, after, queue));
    tokio::spawn(tell_all(controller.clone(), hooks, alerts));
}

async fn tell_all(controller: Arc<Controller>, hooks: Vec<Hook>, mut alerts: mpsc::Receiver<Alert>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let hooks: Vec<Arc<Hook>> = hooks.into_iter().map(Arc::new).collect();
    while let Some(alert) = alerts.recv().await {
        let Some(hook) = hooks.get(alert.rule).cloned() else {
            continue;
        };
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let controller = controller.clone();
        tokio::spawn(async move {
            tell(&controller, &hook, &alert).await;
            drop(place);
        });
    }
}

/// By every way that the hook has; the failure of one does not keep the other back.
async fn tell(controller: &Controller, hook: &Hook, alert: &Alert) {
    let message = Message::new(alert, controller.owner());
    let command = async {
        if let Some(command) = &hook.command {
            let outcome = within(hook.timeout, command::run(command, &message)).await;
            controller.alert_told(alert, &format!("`{}`", command[0]), outcome);
        }
    };
    let webhook = async {
        if let Some(webhook) = &hook.webhook {
            let outcome = within(hook.timeout, webhook::post(webhook, &message)).await;
            controller.alert_told(alert, &format!("`{}`", webhook::shown(webhook)), outcome);
        }
    };
    tokio::join!(command, webhook);
}

async fn within(limit: Duration, telling: impl Future<Output = Result<String, String>>) -> Result<String, String> {
    let over = || format!("not done after {} ms", limit.as_millis());
    tokio::time::timeout(limit, telling).await.unwrap_or_else(|_| Err(over()))
}
