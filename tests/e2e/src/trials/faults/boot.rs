//! The agent or the machine goes down and comes back.

use serde_json::Value;

use crate::files::{several, stays};
use crate::fixture::Fixture;
use crate::trial::trials;
use crate::wait;

use super::{events_after, newest, pid};

trials!("faults-boot":
    an_upgrade_of_the_agent_touches_nothing Real,
    services_return_in_the_order_of_their_dependencies Real,
);

pub(super) fn components(fixture: &Fixture<'_>) -> [String; 2] {
    ["db", "web"].map(|component| format!("{}-{component}", fixture.service))
}

/// `web` waits until `db` is healthy, which takes a second.
pub(super) fn ordered(service: &str, keys: &str) -> String {
    let db = "trap exit TERM; sleep 1; touch /tmp/ready; while :; do sleep 0.1; done";
    let health = format!(
        "{keys}\nstop_grace = '1s'\nhealth = {{ exec = ['test', '-e', '/tmp/ready'], interval = '200ms', retries = 50 }}\ntmpfs = ['/tmp']"
    );
    let waits = format!("{keys}\nstop_grace = '1s'\ndepends_on = {{ db = 'healthy' }}");
    several(service, &[("db", db, &health), ("web", &stays("up"), &waits)])
}

#[track_caller]
fn both_run(fixture: &Fixture<'_>) {
    for name in components(fixture) {
        wait::until(&format!("`{name}` runs"), || fixture.workload(&name), |workload| workload["state"] == "running");
    }
}

/// An engine may tell of a start after the deploy is done.
#[track_caller]
fn both_are_reported(fixture: &Fixture<'_>) {
    for name in components(fixture) {
        time(fixture, 0, &name, "started");
    }
}

fn an_upgrade_of_the_agent_touches_nothing(fixture: &mut Fixture<'_>) {
    let service = fixture.service.clone();
    fixture.deploy(&ordered(&service, "")).ok();
    both_are_reported(fixture);
    let (ids, before) = (fixture.ids(), newest(fixture));
    let pids = components(fixture).map(|name| pid(fixture, &name));
    for _ in 0..2 {
        fixture.agent.stop();
        fixture.agent.start_again();
        both_run(fixture);
    }
    wait::until("all of it is known again", || fixture.ids(), |now| *now == ids);
    assert_eq!(components(fixture).map(|name| pid(fixture, &name)), pids, "not the same processes");
    let moved = |event: &Value| {
        ["created", "started", "stopped", "exited", "restarting", "removed", "failed"]
            .iter()
            .any(|kind| event["kind"] == *kind)
    };
    let told: Vec<Value> = events_after(fixture, before).into_iter().filter(moved).collect();
    assert!(told.is_empty(), "told though nothing happened: {told:#?}");
    assert_eq!(fixture.differences(), Vec::<Value>::new());
    fixture.has_instances(2);
}

fn services_return_in_the_order_of_their_dependencies(fixture: &mut Fixture<'_>) {
    let service = fixture.service.clone();
    fixture.deploy(&ordered(&service, "")).ok();
    both_are_reported(fixture);
    let (ids, before) = (fixture.ids(), newest(fixture));
    let label = fixture.service_label();
    fixture.agent.kill();
    // As a reboot does it: all at once, and nobody listens.
    let running = fixture.engine().running(&label);
    let mut words = vec!["kill"];
    words.extend(running.iter().map(String::as_str));
    fixture.engine().run(&words);
    wait::until("nothing runs", || fixture.engine().running(&label), Vec::is_empty);
    fixture.agent.start_again();
    both_run(fixture);
    assert_eq!(fixture.ids(), ids, "other instances than before");
    fixture.has_instances(2);
    let [db, web] = components(fixture);
    let ready = time(fixture, before, &db, "ready");
    let started = time(fixture, before, &web, "started");
    assert!(ready < started, "`{web}` did not wait for `{db}`: {started} is not after {ready}");
}

/// When it happened; an engine tells late, so that the order of telling is another one.
pub(super) fn time(fixture: &Fixture<'_>, after: u64, workload: &str, kind: &str) -> String {
    let is_it = |event: &Value| event["workload"] == workload && event["kind"] == kind;
    let what = format!("event `{kind}` of `{workload}`");
    let events = wait::until(&what, || events_after(fixture, after), |events| events.iter().any(is_it));
    let event = events.into_iter().find(|event| is_it(event)).unwrap();
    event["time"].as_str().unwrap().to_owned()
}
