//! Looking at what would be or is, without changing it.

use crate::files::{one, several, stays};
use crate::fixture::Fixture;
use crate::program::{Following, Ran};
use crate::trial::trials;
use crate::wait;

trials!("look":
    explain_masks_secrets Every,
    events_can_be_followed_from_a_cursor Every,
    exec_passes_streams_and_the_exit_code Every,
    a_difference_made_by_hand_is_shown Real,
    one_component_can_be_deployed_alone Every,
);

fn explain_masks_secrets(fixture: &mut Fixture<'_>) {
    let file = fixture.file(&one(
        &fixture.service,
        "true",
        "env = { DB_PASSWORD = 'hunter2', API_TOKEN = 'hunter3', MODE = 'plain' }",
    ));
    let text = fixture.hythe(&["explain", &file]).ok().out;
    assert!(!text.contains("hunter"), "a secret is shown:\n{text}");
    assert!(text.contains("DB_PASSWORD") && text.contains("localhost/hythe-test:1"), "{text}");
    let document = fixture.hythe(&["explain", &file, "--json"]).ok();
    assert!(!document.out.contains("hunter"), "a secret is shown:\n{document:?}");
    assert_eq!(document.json()[0]["runtime"], fixture.subject.name);
    assert_eq!(fixture.hythe(&["services", "--json"]).ok().out, "[]\n", "explaining deployed something");
}

fn events_can_be_followed_from_a_cursor(fixture: &mut Fixture<'_>) {
    fixture.deploy(&one(&fixture.service, &stays("up"), "")).ok();
    let before = wait::until("its start is an event", || fixture.events(), |events| events.len() > 1);
    let after = before[0]["cursor"].to_string();
    let words = ["events", "-f", "--after", &after, "--service", &fixture.service, "--json"];
    let follow = Following::start(&mut fixture.agent.command(&words));
    fixture.hythe(&["stop", &fixture.service]).ok();
    let followed = follow.wait_for_kind("stopped");
    let cursors =
        |events: &[serde_json::Value]| events.iter().map(|event| event["cursor"].as_u64().unwrap()).collect::<Vec<_>>();
    let all = cursors(&followed);
    assert!(all.is_sorted() && all[0] == cursors(&before)[1], "from the cursor on, in order: {all:?}");
}

fn exec_passes_streams_and_the_exit_code(fixture: &mut Fixture<'_>) {
    fixture.deploy(&one(&fixture.service, &stays("up"), "")).ok();
    let ran = fixture.hythe(&["exec", &fixture.service, "sh", "-c", "echo out; echo err >&2; exit 42"]).ends_with(42);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("out\n", "err\n"));
    let fed = Ran::fed(&mut fixture.agent.command(&["exec", "-i", &fixture.service, "cat"]), b"through\nand through");
    assert_eq!(fed.ok().out, "through\nand through");
    let ran = fixture
        .hythe(&[
            "exec",
            "-e",
            "MODE=x y",
            "-w",
            "/tmp",
            "-u",
            "app",
            &fixture.service,
            "sh",
            "-c",
            "echo $MODE; pwd; id -u",
        ])
        .ok();
    assert_eq!(ran.out, "x y\n/tmp\n1000\n");
    fixture.hythe(&["exec", &fixture.service, "/does/not/exist"]).says(&["/does/not/exist"]);
}

fn a_difference_made_by_hand_is_shown(fixture: &mut Fixture<'_>) {
    fixture.deploy(&one(&fixture.service, &stays("up"), "restart = 'no'")).ok();
    let id = fixture.it()["instance"]["id"].as_str().unwrap().to_owned();
    fixture.engine().run(&["stop", &id]);
    wait::until("the stop by hand is seen", || fixture.it(), |it| it["state"] != "running");
    let differences = fixture.differences();
    assert!(differences.iter().any(|difference| difference["field"] == "state"), "{differences:#?}");
}

fn one_component_can_be_deployed_alone(fixture: &mut Fixture<'_>) {
    let service = fixture.service.clone();
    let script = stays("up");
    let text = |mode: &str| {
        let keys = format!("env = {{ MODE = '{mode}' }}");
        several(&service, &[("a", &script, &keys), ("b", &script, &keys)])
    };
    fixture.deploy(&text("old")).ok();
    let before = fixture.ids();
    let file = fixture.file(&text("new"));
    fixture.hythe(&["deploy", "--component", "a", &file]).ok();
    let after = fixture.ids();
    assert!(before[0] != after[0] && before[1] == after[1], "only `a` may be replaced: {before:?} {after:?}");
    fixture.hythe(&["deploy", "--component", "c", &file]).ends_with(3).says(&["`c`", "`a`", "`b`"]);
}
