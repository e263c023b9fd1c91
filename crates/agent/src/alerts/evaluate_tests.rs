#![expect(clippy::unwrap_used, reason = "a test may panic")]

use hythe_store::NewEvent;
use serde_json::json;

use super::*;
use crate::alerts::rules::Flapping;

fn rule(on: &[Kind]) -> Rule {
    Rule {
        on: on.iter().copied().collect(),
        service: None,
        cooldown: Duration::from_secs(300),
        flapping: Flapping { restarts: 3, within: Duration::from_secs(60) },
        lost_after: Duration::from_secs(30),
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

/// An event of workload `shop-web` on `r`; `runtime.*` ones are about `r` itself.
fn event(second: i64, kind: &str) -> EventRecord {
    of_instance(second, kind, "shop-web-1-1")
}

fn of_instance(second: i64, kind: &str, instance: &str) -> EventRecord {
    let of_workload = |name: &str| (!kind.starts_with("runtime.")).then(|| name.to_owned());
    let event = NewEvent {
        time: at(second),
        runtime: Some("r".to_owned()),
        service: of_workload("shop"),
        workload: of_workload("shop-web"),
        kind: hythe_store::OpenEnum::read(kind),
        message: format!("said {kind}"),
        details: json!({ "instance": instance }),
    };
    EventRecord { cursor: u64::try_from(second).unwrap(), event }
}

/// Seconds and kinds of the alerts that these events call for, each given when it happens.
fn alerts_of(evaluator: &mut Evaluator, events: &[EventRecord]) -> Vec<(i64, Kind)> {
    let mut all = Vec::new();
    for event in events {
        let alerts = evaluator.take(event, event.event.time);
        all.extend(alerts.iter().map(|alert| (alert.time.as_second() - 1_000_000, alert.kind)));
    }
    all
}

#[test]
fn restarts_within_the_window_are_flapping() {
    let mut evaluator = Evaluator::new(vec![rule(&[Kind::Flapping])]);
    let slow: Vec<_> = [0, 40, 80, 120].map(|second| event(second, "restarting")).to_vec();
    assert_eq!(alerts_of(&mut evaluator, &slow), [], "never three within a minute");
    let fast: Vec<_> = [200, 210, 220].map(|second| event(second, "restarting")).to_vec();
    assert_eq!(alerts_of(&mut evaluator, &fast), [(220, Kind::Flapping)]);
}

#[test]
fn restart_reported_by_two_events_counts_once() {
    let mut evaluator = Evaluator::new(vec![rule(&[Kind::Flapping])]);
    let mut events = Vec::new();
    for second in [0, 10] {
        events.extend([event(second, "exited"), event(second, "restarting"), event(second + 1, "started")]);
    }
    assert_eq!(alerts_of(&mut evaluator, &events), [], "two restarts, six events");
    events = vec![event(20, "exited"), event(20, "restarting")];
    assert_eq!(alerts_of(&mut evaluator, &events), [(20, Kind::Flapping)]);
}

#[test]
fn exit_and_start_without_request_is_a_restart() {
    let mut evaluator = Evaluator::new(vec![rule(&[Kind::Flapping])]);
    let mut events = Vec::new();
    for second in [0, 10, 20] {
        events.extend([event(second, "unhealthy"), event(second, "exited"), event(second + 1, "started")]);
    }
    assert_eq!(alerts_of(&mut evaluator, &events), [(21, Kind::Flapping)]);
}

#[test]
fn requested_restart_does_not_count() {
    let mut evaluator = Evaluator::new(vec![rule(&[Kind::Flapping])]);
    for second in [0, 5, 10, 15] {
        let restart = [event(second, "requested"), event(second + 1, "exited"), event(second + 2, "started")];
        assert_eq!(alerts_of(&mut evaluator, &restart), []);
    }
    for second in [16, 17, 18] {
        let mut killed = event(second, "restarting");
        killed.event.details["cause"] = json!("requested");
        assert_eq!(alerts_of(&mut evaluator, &[killed]), []);
    }
    for second in [20, 23, 26, 29] {
        let (old, new) = (format!("shop-web-{second}-1"), format!("shop-web-{}-1", second + 3));
        let replace = [
            event(second, "deployed"),
            of_instance(second + 1, "started", &new),
            of_instance(second + 2, "exited", &old),
        ];
        assert_eq!(alerts_of(&mut evaluator, &replace), []);
    }
}

#[test]
fn same_alert_is_repeated_only_after_the_cooldown() {
    let mut evaluator = Evaluator::new(vec![rule(&[Kind::Unhealthy, Kind::Drift])]);
    let events = [event(0, "unhealthy"), event(10, "unhealthy"), event(299, "unhealthy"), event(300, "unhealthy")];
    assert_eq!(alerts_of(&mut evaluator, &events), [(0, Kind::Unhealthy), (300, Kind::Unhealthy)]);
    assert_eq!(
        alerts_of(&mut evaluator, &[event(301, "drift")]),
        [(301, Kind::Drift)],
        "another kind is another matter"
    );
}

#[test]
fn cleared_drift_is_no_alert() {
    let mut evaluator = Evaluator::new(vec![rule(&[Kind::Drift])]);
    let mut cleared = event(0, "drift");
    cleared.event.details = serde_json::json!({ "differences": [], "cleared": true });
    assert_eq!(alerts_of(&mut evaluator, &[cleared, event(1, "drift")]), [(1, Kind::Drift)]);
}

#[test]
fn cooldown_is_per_rule_and_subject() {
    let mut evaluator = Evaluator::new(vec![rule(&[Kind::Unhealthy]), rule(&[Kind::Unhealthy])]);
    let mut other = event(2, "unhealthy");
    other.event.workload = Some("shop-db".to_owned());
    let alerts = evaluator.take(&event(1, "unhealthy"), at(1));
    assert_eq!(alerts.iter().map(|alert| alert.rule).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(evaluator.take(&other, at(2)).len(), 2);
    assert_eq!(evaluator.take(&other, at(3)).len(), 0);
}

#[test]
fn rule_applies_to_its_service_and_kinds_only() {
    let elsewhere = Rule { service: Some("blog".to_owned()), ..rule(&[Kind::Unhealthy]) };
    let here = Rule { service: Some("shop".to_owned()), ..rule(&[Kind::Drift]) };
    let mut evaluator = Evaluator::new(vec![elsewhere, here]);
    assert_eq!(alerts_of(&mut evaluator, &[event(0, "unhealthy"), event(1, "drift")]), [(1, Kind::Drift)]);
}

#[test]
fn runtime_reconnected_in_time_is_no_alert() {
    let mut evaluator = Evaluator::new(vec![rule(&[Kind::RuntimeLost])]);
    evaluator.take(&event(0, "runtime.disconnected"), at(0));
    assert_eq!(evaluator.next_tick(), Some(at(30)));
    assert_eq!(evaluator.tick(at(29)), []);
    evaluator.take(&event(29, "runtime.reconnected"), at(29));
    assert_eq!((evaluator.next_tick(), evaluator.tick(at(99))), (None, Vec::new()));
}

#[test]
fn lost_runtime_is_one_alert_per_rule() {
    let patient = Rule { lost_after: Duration::from_secs(60), ..rule(&[Kind::RuntimeLost]) };
    let mut evaluator = Evaluator::new(vec![rule(&[Kind::RuntimeLost]), patient, rule(&[Kind::Drift])]);
    evaluator.take(&event(0, "runtime.disconnected"), at(0));
    evaluator.take(&event(10, "runtime.disconnected"), at(10));
    let first = evaluator.tick(at(30));
    assert_eq!((first.len(), first[0].rule, first[0].subject.as_str()), (1, 0, "r"));
    assert_eq!(first[0].message, "runtime `r` has not answered for 30 s: said runtime.disconnected");
    assert_eq!(evaluator.next_tick(), Some(at(60)));
    assert_eq!(evaluator.tick(at(60)).iter().map(|alert| alert.rule).collect::<Vec<_>>(), [1]);
    assert_eq!((evaluator.next_tick(), evaluator.tick(at(9999))), (None, Vec::new()));
}

#[test]
fn alert_events_cause_no_alert() {
    let mut evaluator = Evaluator::new(vec![rule(&Kind::ALL)]);
    let events: Vec<_> =
        (0..20).map(|second| event(second, ["alert.sent", "alert.failed"][usize::from(second % 2 == 0)])).collect();
    assert_eq!(alerts_of(&mut evaluator, &events), []);
}
