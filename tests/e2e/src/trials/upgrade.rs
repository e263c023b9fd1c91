//! Another program takes over from the agent: the old one is gone from the disk, and what it started goes on as if nothing had been.

use std::path::Path;

use serde_json::Value;

use crate::files::{one, several, stays};
use crate::scene::Scene;
use crate::trial::trials;
use crate::wait;

trials!("upgrade":
    another_program_takes_over_what_a_deleted_one_started Real,
    an_agent_whose_program_is_replaced_underneath_it_works_on Real,
);

/// Counts aloud, and ends with 4 when asked to.
const COUNTS: &str = "trap 'exit 4' TERM; i=0; while :; do i=$((i+1)); echo line $i; sleep 0.05; done";

fn pid(scene: &Scene<'_>, workload: &str) -> Value {
    scene.hythe(&["inspect", workload]).ok().json()["observed"]["pid"].clone()
}

/// Its whole log: every line once, in order.
#[track_caller]
fn lines(scene: &Scene<'_>) -> usize {
    let log = scene.hythe(&["logs", &scene.service]).ok().out;
    for (number, line) in (1..).zip(log.lines()) {
        assert_eq!(line, format!("line {number}"), "the log has a gap or a double");
    }
    log.lines().count()
}

fn another_program_takes_over_what_a_deleted_one_started(scene: &mut Scene<'_>) {
    let old = scene.agent.install("old/hythe");
    scene.agent.restart();
    let keys = "restart = 'always'\nhealth = { exec = 'true', interval = '200ms' }";
    scene.deploy(&one(&scene.service, COUNTS, keys)).ok();
    // An engine may tell of a start later than it answers.
    wait::until("its start is told", || scene.events(), |events| events.iter().any(|event| event["kind"] == "started"));
    let (id, process, cursor) = (scene.it()["instance"]["id"].clone(), pid(scene, &scene.service), newest(scene));
    scene.agent.kill();
    std::fs::remove_file(&old).unwrap();
    scene.agent.install("new/hythe");
    scene.agent.start_again();
    let healthy = |it: &Value| it["state"] == "running" && it["health"] == "healthy";
    let it = wait::until("it is taken over and its check goes on", || scene.it(), healthy);
    assert_eq!((&it["instance"]["id"], &it["restarts"]), (&id, &0.into()), "{it:#}");
    assert_eq!(pid(scene, &scene.service), process, "another process");
    assert!(!events_since(scene, cursor).iter().any(|event| event["kind"] == "started"), "it was started anew");
    assert_eq!(scene.hythe(&["exec", &scene.service, "sh", "-c", "echo in; exit 3"]).ends_with(3).out, "in\n");
    let before = lines(scene);
    wait::until("the log goes on", || lines(scene), |now| *now > before + 5);
    scene.hythe(&["stop", &scene.service]).ok();
    assert_eq!(scene.it()["exit"]["code"], 4, "it was not asked to end: {:#}", scene.it());
    scene.hythe(&["start", &scene.service]).ok();
    let it = scene.await_state("running");
    assert_eq!(it["instance"]["id"], id, "{it:#}");
    scene.has_instances(1);
}

fn newest(scene: &Scene<'_>) -> u64 {
    scene.events().iter().filter_map(|event| event["cursor"].as_u64()).max().unwrap_or_default()
}

fn events_since(scene: &Scene<'_>, cursor: u64) -> Vec<Value> {
    scene.events().into_iter().filter(|event| event["cursor"].as_u64() > Some(cursor)).collect()
}

/// What is at its path now would not run at all.
fn replace(program: &Path) {
    let next = program.with_extension("next");
    std::fs::write(&next, "not a program").unwrap();
    std::fs::rename(next, program).unwrap();
}

fn an_agent_whose_program_is_replaced_underneath_it_works_on(scene: &mut Scene<'_>) {
    let service = scene.service.clone();
    let text = |mode: &str| {
        let keys = format!("restart = 'always'\nenv = {{ MODE = '{mode}' }}");
        several(&service, &[("a", &stays("up"), ""), ("b", &stays("up"), &keys)])
    };
    let program = scene.agent.install("bin/hythe");
    scene.agent.restart();
    scene.deploy(&text("old")).ok();
    replace(&program);
    scene.deploy(&text("new")).ok();
    let b = format!("{service}-b");
    assert_eq!(scene.hythe(&["exec", &b, "sh", "-c", "echo $MODE"]).ok().out, "new\n");
    scene.hythe(&["restart", &format!("{service}/a")]).ok();
    let ids = scene.ids();
    scene.agent.kill();
    scene.agent.install("next/hythe");
    scene.agent.start_again();
    for name in [format!("{service}-a"), b] {
        wait::until("it is taken over", || scene.workload(&name), |it| it["state"] == "running");
    }
    assert_eq!(scene.ids(), ids, "not the same instances");
    scene.has_instances(2);
}
