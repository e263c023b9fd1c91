//! The agent or the machine goes down and comes back.

use serde_json::Value;

use crate::files::{several, stays};
use crate::scene::Scene;
use crate::trial::trials;
use crate::wait;

use super::{events_after, newest, pid};

trials!("faults-boot":
    an_upgrade_of_the_agent_touches_nothing Real,
    services_return_in_the_order_of_their_dependencies Real,
);

fn components(scene: &Scene<'_>) -> [String; 2] {
    ["db", "web"].map(|component| format!("{}-{component}", scene.service))
}

/// `web` waits until `db` is healthy, which takes a second.
fn ordered(service: &str) -> String {
    let db = "trap exit TERM; sleep 1; touch /tmp/ready; while :; do sleep 0.1; done";
    let health = "stop_grace = '1s'\nhealth = { exec = ['test', '-e', '/tmp/ready'], interval = '200ms', retries = 50 }\ntmpfs = ['/tmp']";
    several(service, &[("db", db, health), ("web", &stays("up"), "stop_grace = '1s'\ndepends_on = { db = 'healthy' }")])
}

#[track_caller]
fn both_run(scene: &Scene<'_>) {
    for name in components(scene) {
        wait::until(&format!("`{name}` runs"), || scene.workload(&name), |workload| workload["state"] == "running");
    }
}

/// An engine may tell of a start after the deploy is done.
#[track_caller]
fn both_are_told(scene: &Scene<'_>) {
    for name in components(scene) {
        time(scene, 0, &name, "started");
    }
}

fn an_upgrade_of_the_agent_touches_nothing(scene: &mut Scene<'_>) {
    let service = scene.service.clone();
    scene.deploy(&ordered(&service)).ok();
    both_are_told(scene);
    let (ids, before) = (scene.ids(), newest(scene));
    let pids = components(scene).map(|name| pid(scene, &name));
    for _ in 0..2 {
        scene.agent.stop();
        scene.agent.start_again();
        both_run(scene);
    }
    wait::until("all of it is known again", || scene.ids(), |now| *now == ids);
    assert_eq!(components(scene).map(|name| pid(scene, &name)), pids, "not the same processes");
    let moved = |event: &Value| {
        ["created", "started", "stopped", "exited", "restarting", "removed", "failed"]
            .iter()
            .any(|kind| event["kind"] == *kind)
    };
    let told: Vec<Value> = events_after(scene, before).into_iter().filter(moved).collect();
    assert!(told.is_empty(), "told though nothing happened: {told:#?}");
    assert_eq!(scene.differences(), Vec::<Value>::new());
    scene.has_instances(2);
}

fn services_return_in_the_order_of_their_dependencies(scene: &mut Scene<'_>) {
    let service = scene.service.clone();
    scene.deploy(&ordered(&service)).ok();
    both_are_told(scene);
    let (ids, before) = (scene.ids(), newest(scene));
    let label = scene.service_label();
    scene.agent.kill();
    // As a reboot does it: all at once, and nobody listens.
    let running = scene.engine().running(&label);
    let mut words = vec!["kill"];
    words.extend(running.iter().map(String::as_str));
    scene.engine().run(&words);
    wait::until("nothing runs", || scene.engine().running(&label), Vec::is_empty);
    scene.agent.start_again();
    both_run(scene);
    assert_eq!(scene.ids(), ids, "other instances than before");
    scene.has_instances(2);
    let [db, web] = components(scene);
    let ready = time(scene, before, &db, "ready");
    let started = time(scene, before, &web, "started");
    assert!(ready < started, "`{web}` did not wait for `{db}`: {started} is not after {ready}");
}

/// When it happened; an engine tells late, so that the order of telling is another one.
fn time(scene: &Scene<'_>, after: u64, workload: &str, kind: &str) -> String {
    let is_it = |event: &Value| event["workload"] == workload && event["kind"] == kind;
    let what = format!("event `{kind}` of `{workload}`");
    let events = wait::until(&what, || events_after(scene, after), |events| events.iter().any(is_it));
    let event = events.into_iter().find(|event| is_it(event)).unwrap();
    event["time"].as_str().unwrap().to_owned()
}
