//! An alert as hooks get it: one JSON document, and its main facts as variables.

use serde_json::json;

use super::rules::Alert;
use crate::view;

/// What a hook gets.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) json: String,
    pub(super) variables: Vec<(&'static str, String)>,
}

impl Message {
    pub(super) fn new(alert: &Alert, agent: &str) -> Self {
        let event = view::event(alert.event.clone());
        let named = |name: &'static str, value: &Option<String>| value.clone().map(|value| (name, value));
        let variables = [
            Some(("HYTHE_ALERT", alert.kind.as_str().to_owned())),
            Some(("HYTHE_SUBJECT", alert.subject.clone())),
            Some(("HYTHE_MESSAGE", alert.message.clone())),
            Some(("HYTHE_TIME", alert.time.to_string())),
            Some(("HYTHE_AGENT", agent.to_owned())),
            Some(("HYTHE_CURSOR", event.cursor.to_string())),
            Some(("HYTHE_EVENT", event.kind.to_string())),
            named("HYTHE_SERVICE", &event.service),
            named("HYTHE_WORKLOAD", &event.workload),
            named("HYTHE_RUNTIME", &event.runtime),
        ];
        let document = json!({
            "alert": alert.kind.as_str(),
            "subject": alert.subject,
            "message": alert.message,
            "time": alert.time,
            "agent": agent,
            "event": event,
        });
        // No variable can hold a NUL.
        let variables = variables.into_iter().flatten().map(|(name, value)| (name, value.replace('\0', "")));
        Self { json: document.to_string(), variables: variables.collect() }
    }
}
