//! From events and a clock to alerts. Pure: it is given both and remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hythe_store::EventRecord;
use jiff::{SignedDuration, Timestamp};

use super::restarts::Restarts;
use super::rules::{Alert, Kind, Rule};

/// A runtime that does not answer.
#[derive(Debug)]
struct Lost {
    event: EventRecord,
    /// Since when, by the clock that is given.
    since: Timestamp,
    /// Rules that have decided about it.
    decided: BTreeSet<usize>,
}

/// Applies rules to events.
#[derive(Debug)]
pub(crate) struct Evaluator {
    rules: Vec<Rule>,
    restarts: Restarts,
    lost: BTreeMap<String, Lost>,
    /// Until when a rule gives no further alert of a kind about a subject.
    quiet: BTreeMap<(usize, Kind, String), Timestamp>,
}

impl Evaluator {
    /// One that has seen nothing yet.
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        Self { rules, restarts: Restarts::default(), lost: BTreeMap::new(), quiet: BTreeMap::new() }
    }

    /// What the event calls for. Events are given once each, in order.
    pub(crate) fn take(&mut self, event: &EventRecord, now: Timestamp) -> Vec<Alert> {
        let kind = event.event.kind.as_str();
        match (&event.event.workload, &event.event.runtime) {
            (_, Some(runtime)) if kind == "runtime.disconnected" => {
                let lost = || Lost { event: event.clone(), since: now, decided: BTreeSet::new() };
                self.lost.entry(runtime.clone()).or_insert_with(lost);
            }
            (_, Some(runtime)) if kind == "runtime.reconnected" => {
                self.lost.remove(runtime);
            }
            _ => {}
        }
        let mut alerts = self.flapping(event, now);
        let subject = subject(event);
        match kind {
            "unhealthy" => alerts.extend(self.decide(Kind::Unhealthy, &subject, event, now)),
            // A cleared drift is no alert.
            "drift" if event.event.details["cleared"] != true => {
                alerts.extend(self.decide(Kind::Drift, &subject, event, now))
            }
            _ => {}
        }
        alerts
    }

    /// What the passing of time calls for: runtimes that did not come back.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Vec<Alert> {
        self.quiet.retain(|_, until| *until > now);
        let mut due = Vec::new();
        for (runtime, lost) in &mut self.lost {
            for (at, rule) in self.rules.iter().enumerate() {
                if rule.wants(Kind::RuntimeLost, None)
                    && later(lost.since, rule.lost_after) <= now
                    && lost.decided.insert(at)
                {
                    let message = format!(
                        "runtime `{runtime}` has not answered for {} s: {}",
                        rule.lost_after.as_secs(),
                        lost.event.event.message
                    );
                    due.push((at, runtime.clone(), message, lost.event.clone()));
                }
            }
        }
        let alerts = due.into_iter().filter_map(|(rule, subject, message, event)| {
            self.alert(Alert { rule, kind: Kind::RuntimeLost, subject, message, time: now, event })
        });
        alerts.collect()
    }

    /// When [`Evaluator::tick`] will have something to say unless things change.
    pub(crate) fn next_tick(&self) -> Option<Timestamp> {
        let rules = || self.rules.iter().enumerate().filter(|(_, rule)| rule.wants(Kind::RuntimeLost, None));
        let due = |lost: &Lost| {
            rules()
                .filter(|(at, _)| !lost.decided.contains(at))
                .map(|(_, rule)| later(lost.since, rule.lost_after))
                .min()
        };
        self.lost.values().filter_map(due).min()
    }

    fn flapping(&mut self, event: &EventRecord, now: Timestamp) -> Vec<Alert> {
        let Some(workload) = &event.event.workload else {
            return Vec::new();
        };
        let most = self.rules.iter().map(|rule| rule.flapping.restarts).max().unwrap_or_default();
        if !self.restarts.take(workload, &event.event, most as usize) {
            return Vec::new();
        }
        let mut alerts = Vec::new();
        for (rule, is) in self.rules.iter().enumerate() {
            let restarts = self.restarts.within(workload, is.flapping.within, event.event.time);
            if is.wants(Kind::Flapping, event.event.service.as_deref()) && restarts >= is.flapping.restarts as usize {
                let message = format!(
                    "`{workload}` was restarted {restarts} times within {} s: {}",
                    is.flapping.within.as_secs(),
                    event.event.message
                );
                alerts.push(Alert {
                    rule,
                    kind: Kind::Flapping,
                    subject: workload.clone(),
                    message,
                    time: now,
                    event: event.clone(),
                });
            }
        }
        alerts.into_iter().filter_map(|alert| self.alert(alert)).collect()
    }

    fn decide(&mut self, kind: Kind, subject: &str, event: &EventRecord, now: Timestamp) -> Vec<Alert> {
        let wanting = |(_, rule): &(usize, &Rule)| rule.wants(kind, event.event.service.as_deref());
        let rules: Vec<usize> = self.rules.iter().enumerate().filter(wanting).map(|(at, _)| at).collect();
        let message = format!("`{subject}`: {}", event.event.message);
        let alert = |rule| Alert {
            rule,
            kind,
            subject: subject.to_owned(),
            message: message.clone(),
            time: now,
            event: event.clone(),
        };
        rules.into_iter().filter_map(|rule| self.alert(alert(rule))).collect()
    }

    /// The alert, unless its rule has given the same within its cooldown.
    fn alert(&mut self, alert: Alert) -> Option<Alert> {
        let key = (alert.rule, alert.kind, alert.subject.clone());
        if self.quiet.get(&key).is_some_and(|until| *until > alert.time) {
            return None;
        }
        self.quiet.insert(key, later(alert.time, self.rules[alert.rule].cooldown));
        Some(alert)
    }
}

fn subject(event: &EventRecord) -> String {
    let event = &event.event;
    let named = [&event.workload, &event.service, &event.runtime].into_iter().find_map(Option::as_deref);
    named.unwrap_or("agent").to_owned()
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
