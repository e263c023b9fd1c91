//! Another program takes over from the agent: the old one is gone from the disk, and what it started goes on as if nothing had been.

use std::path::Path;

use serde_json::Value;

use crate::files::{one, several, stays};
use crate::fixture::Fixture;
use crate::trial::trials;
use crate::wait;

trials!("upgrade":
    another_program_takes_over_what_a_deleted_one_started Real,
    an_agent_whose_program_is_replaced_underneath_it_works_on Real,
);

/// Counts aloud, and ends with 4 when asked to.
const COUNTS: &str = "trap 'exit 4' TERM; i=0; while :; do i=$((i+1)); echo line $i; sleep 0.05; done";

fn pid(fixture: &Fixture<'_>, workload: &str) -> Value {
    fixture.hythe(&["inspect", workload]).ok().json()["observed"]["pid"].clone()
}

/// Its whole log: every line once, in order.
#[track_caller]
fn lines(fixture: &Fixture<'_>) -> usize {
    let log = fixture.hythe(&["logs", &fixture.service]).ok().out;
    for (number, line) in (1..).zip(log.lines()) {
        assert_eq!(line, format!("line {number}"), "the log has a gap or a double");
    }
    log.lines().count()
}

fn another_program_takes_over_what_a_deleted_one_started(fixture: &mut Fixture<'_>) {
    let old = fixture.agent.install("old/hythe");
    fixture.agent.restart();
    let keys = "restart = 'always'\nhealth = { exec = 'true', interval = '200ms' }";
    fixture.deploy(&one(&fixture.service, COUNTS, keys)).ok();
    // An engine may tell of a start later than it answers.
    wait::until(
        "its start is told",
        || fixture.events(),
        |events| events.iter().any(|event| event["kind"] == "started"),
    );
    let (id, process, cursor) =
        (fixture.it()["instance"]["id"].clone(), pid(fixture, &fixture.service), newest(fixture));
    fixture.agent.kill();
    std::fs::remove_file(&old).unwrap();
    fixture.agent.install("new/hythe");
    fixture.agent.start_again();
    let healthy = |it: &Value| it["state"] == "running" && it["health"] == "healthy";
    let it = wait::until("it is taken over and its check goes on", || fixture.it(), healthy);
    assert_eq!((&it["instance"]["id"], &it["restarts"]), (&id, &0.into()), "{it:#}");
    assert_eq!(pid(fixture, &fixture.service), process, "another process");
    assert!(!events_since(fixture, cursor).iter().any(|event| event["kind"] == "started"), "it was started anew");
    assert_eq!(fixture.hythe(&["exec", &fixture.service, "sh", "-c", "echo in; exit 3"]).ends_with(3).out, "in\n");
    let before = lines(fixture);
    wait::until("the log goes on", || lines(fixture), |now| *now > before + 5);
    fixture.hythe(&["stop", &fixture.service]).ok();
    assert_eq!(fixture.it()["exit"]["code"], 4, "it was not asked to end: {:#}", fixture.it());
    fixture.hythe(&["start", &fixture.service]).ok();
    let it = fixture.await_state("running");
    assert_eq!(it["instance"]["id"], id, "{it:#}");
    fixture.has_instances(1);
}

fn newest(fixture: &Fixture<'_>) -> u64 {
    fixture.events().iter().filter_map(|event| event["cursor"].as_u64()).max().unwrap_or_default()
}

fn events_since(fixture: &Fixture<'_>, cursor: u64) -> Vec<Value> {
    fixture.events().into_iter().filter(|event| event["cursor"].as_u64() > Some(cursor)).collect()
}

/// What is at its path now would not run at all.
fn replace(program: &Path) {
    let next = program.with_extension("next");
    std::fs::write(&next, "not a program").unwrap();
    std::fs::rename(next, program).unwrap();
}

fn an_agent_whose_program_is_replaced_underneath_it_works_on(fixture: &mut Fixture<'_>) {
    let service = fixture.service.clone();
    let text = |mode: &str| {
        let keys = format!("restart = 'always'\nenv = {{ MODE = '{mode}' }}");
        several(&service, &[("a", &stays("up"), ""), ("b", &stays("up"), &keys)])
    };
    let program = fixture.agent.install("bin/hythe");
    fixture.agent.restart();
    fixture.deploy(&text("old")).ok();
    replace(&program);
    fixture.deploy(&text("new")).ok();
    let b = format!("{service}-b");
    assert_eq!(fixture.hythe(&["exec", &b, "sh", "-c", "echo $MODE"]).ok().out, "new\n");
    fixture.hythe(&["restart", &format!("{service}/a")]).ok();
    let ids = fixture.ids();
    fixture.agent.kill();
    fixture.agent.install("next/hythe");
    fixture.agent.start_again();
    for name in [format!("{service}-a"), b] {
        wait::until("it is taken over", || fixture.workload(&name), |it| it["state"] == "running");
    }
    assert_eq!(fixture.ids(), ids, "not the same instances");
    fixture.has_instances(2);
}
