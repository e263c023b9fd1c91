//! The `[[alerts]]` of the configuration file, checked whole: every fault is reported, not the first.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::Uri;
use hythe_spec::Millis;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::rules::{Flapping, Kind, Rule};

const COOLDOWN: Duration = Duration::from_secs(300);
const TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);
const LOST_AFTER: Duration = Duration::from_secs(30);

/// When to alert, and how.
#[derive(Debug, Clone)]
pub(crate) struct Hook {
    pub(crate) rule: Rule,
    /// Program and arguments, never empty.
    pub(crate) command: Option<Vec<String>>,
    pub(crate) webhook: Option<Uri>,
    pub(crate) timeout: Duration,
}

/// The hooks that are configured.
///
/// # Errors
/// Every fault with its place.
pub(crate) fn parse(tables: Vec<Table>) -> Result<Vec<Hook>, Vec<String>> {
    let mut problems = Vec::new();
    let hooks = tables.into_iter().enumerate().filter_map(|(at, table)| {
        let mut fields = Fields { place: format!("alerts[{at}]"), table, problems: &mut problems };
        hook(&mut fields)
    });
    let hooks = hooks.collect();
    if problems.is_empty() { Ok(hooks) } else { Err(problems) }
}

fn hook(fields: &mut Fields<'_>) -> Option<Hook> {
    let on = kinds(fields);
    let rule = Rule {
        service: fields.take("service"),
        cooldown: fields.duration("cooldown").unwrap_or(COOLDOWN),
        lost_after: fields.duration("lost_after").unwrap_or(LOST_AFTER),
        flapping: flapping(fields),
        on: on.unwrap_or_default(),
    };
    let command = fields.take::<Vec<String>>("command");
    let webhook = fields.take::<String>("webhook");
    if command.as_ref().is_some_and(|command| command.first().is_none_or(String::is_empty)) {
        fields.fault("command", "names no program");
    }
    if command.is_none() && webhook.is_none() && !fields.has_faults_at(&["command", "webhook"]) {
        fields.fault("", "has no receiver: give it a `command` or a `webhook`");
    }
    let webhook = webhook.and_then(|url| url_of(&url, fields));
    let timeout = fields.duration("timeout").unwrap_or(TIMEOUT);
    if timeout.is_zero() || timeout > LONGEST_TIMEOUT {
        fields.fault("timeout", format!("must be greater than 0 and at most {} s", LONGEST_TIMEOUT.as_secs()));
    }
    if rule.service.is_some() && rule.on.contains(&Kind::RuntimeLost) {
        fields.fault("service", "a runtime belongs to no service: give `runtime-lost` an alert of its own");
    }
    fields.refuse_others();
    Some(Hook { rule, command, webhook, timeout })
}

fn kinds(fields: &mut Fields<'_>) -> Option<BTreeSet<Kind>> {
    let names = Kind::ALL.map(|kind| format!("`{}`", kind.as_str())).join(", ");
    if !fields.table.contains_key("on") {
        fields.fault("on", format!("is missing; it lists some of {names}"));
        return None;
    }
    let asked = fields.take::<Vec<String>>("on")?;
    if asked.is_empty() {
        fields.fault("on", format!("is empty; it lists some of {names}"));
    }
    let mut kinds = BTreeSet::new();
    for name in asked {
        match Kind::ALL.into_iter().find(|kind| kind.as_str() == name) {
            Some(kind) => {
                kinds.insert(kind);
            }
            None => fields.fault("on", format!("`{name}` is none of {names}")),
        }
    }
    Some(kinds)
}

fn flapping(fields: &mut Fields<'_>) -> Flapping {
    let default = Flapping::default();
    let Some(table) = fields.take::<Table>("flapping") else {
        return default;
    };
    let mut inner = Fields { place: format!("{}.flapping", fields.place), table, problems: fields.problems };
    let flapping = Flapping {
        restarts: inner.take("restarts").unwrap_or(default.restarts),
        within: inner.duration("within").unwrap_or(default.within),
    };
    if !(1..=1000).contains(&flapping.restarts) {
        inner.fault("restarts", "must be from 1 to 1000");
    }
    if flapping.within.is_zero() {
        inner.fault("within", "must be greater than 0");
    }
    inner.refuse_others();
    flapping
}

fn url_of(text: &str, fields: &mut Fields<'_>) -> Option<Uri> {
    let url = text
        .parse::<Uri>()
        .ok()
        .filter(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some());
    if url.is_none() {
        fields.fault("webhook", format!("`{text}` is no `http://` or `https://` URL"));
    }
    url
}

/// A table whose keys are taken out one by one.
struct Fields<'a> {
    place: String,
    table: Table,
    problems: &'a mut Vec<String>,
}

impl Fields<'_> {
    fn take<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        let value: Value = self.table.remove(key)?;
        match value.try_into() {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(key, error.message());
                None
            }
        }
    }

    fn duration(&mut self, key: &str) -> Option<Duration> {
        let text = self.take::<String>(key)?;
        match text.parse::<Millis>() {
            Ok(millis) => Some(millis.duration()),
            Err(error) => {
                self.fault(key, error);
                None
            }
        }
    }

    fn refuse_others(&mut self) {
        let others: Vec<String> = self.table.keys().cloned().collect();
        for key in others {
            self.fault(&key, "is not a known key");
        }
    }

    fn fault(&mut self, key: &str, what: impl std::fmt::Display) {
        let dot = if key.is_empty() { "" } else { "." };
        self.problems.push(format!("`{}{dot}{key}` {what}", self.place));
    }

    fn has_faults_at(&self, keys: &[&str]) -> bool {
        let places: Vec<String> = keys.iter().map(|key| format!("`{}.{key}`", self.place)).collect();
        self.problems.iter().any(|problem| places.iter().any(|place| problem.starts_with(place)))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn parsed(text: &str) -> Result<Vec<Hook>, Vec<String>> {
        #[derive(serde::Deserialize)]
        struct File {
            alerts: Vec<Table>,
        }
        parse(toml::from_str::<File>(text).unwrap().alerts)
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let hooks = parsed("[[alerts]]\non = ['flapping', 'drift']\ncommand = ['notify', '-v']").unwrap();
        let rule = &hooks[0].rule;
        assert_eq!(rule.on, BTreeSet::from([Kind::Flapping, Kind::Drift]));
        assert_eq!((rule.cooldown, rule.lost_after, rule.flapping), (COOLDOWN, LOST_AFTER, Flapping::default()));
        assert_eq!((hooks[0].timeout, hooks[0].command.as_deref().unwrap().len()), (TIMEOUT, 2));
    }

    #[test]
    fn everything_can_be_said() {
        let hooks = parsed(
            "[[alerts]]\non = ['flapping', 'unhealthy']\nservice = 'shop'\nwebhook = 'https://h.example/x'\ncooldown = '1h'\ntimeout = '3s'\n\
             lost_after = '2m'\nflapping = { restarts = 3, within = '90s' }\n[[alerts]]\non = ['runtime-lost']\ncommand = ['x']",
        )
        .unwrap();
        let first = &hooks[0];
        assert_eq!(
            (first.rule.service.as_deref(), first.rule.cooldown.as_secs(), first.timeout.as_secs()),
            (Some("shop"), 3600, 3)
        );
        assert_eq!(first.rule.flapping, Flapping { restarts: 3, within: Duration::from_secs(90) });
        assert_eq!(hooks.len(), 2);
    }

    #[test]
    fn every_fault_is_reported_with_its_place() {
        let problems = parsed(
            "[[alerts]]\non = ['flaping']\ncommand = []\ncooldown = 'long'\ntimout = '1s'\nflapping = { restarts = 0, times = 1 }\n\
             [[alerts]]\nwebhook = 'ftp://x'\ntimeout = '0s'\n[[alerts]]\non = ['runtime-lost']\nservice = 'shop'",
        )
        .unwrap_err();
        let expected = [
            "`alerts[0].on` `flaping` is none of",
            "`alerts[0].cooldown` `long` is not a duration",
            "`alerts[0].flapping.restarts` must be",
            "`alerts[0].flapping.times` is not a known key",
            "`alerts[0].command` names no program",
            "`alerts[0].timout` is not a known key",
            "`alerts[1].on` is missing",
            "`alerts[1].webhook` `ftp://x` is no",
            "`alerts[1].timeout` must be",
            "`alerts[2]` has no receiver",
            "`alerts[2].service` a runtime belongs to no service",
        ];
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.starts_with(expected), "{problem} / {expected}");
        }
    }
}
