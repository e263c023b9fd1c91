//! Looking at what would be or is, without changing it.

use crate::files::{one, several, stays};
use crate::program::Ran;
use crate::scene::Scene;
use crate::trial::trials;
use crate::wait;

trials!("look":
    explain_masks_secrets Every,
    events_can_be_followed_from_a_cursor Every,
    exec_passes_streams_and_the_exit_code Every,
    a_difference_made_by_hand_is_shown Real,
    one_component_can_be_deployed_alone Every,
);

fn explain_masks_secrets(scene: &mut Scene<'_>) {
    let file = scene.file(&one(
        &scene.service,
        "true",
        "env = { DB_PASSWORD = 'hunter2', API_TOKEN = 'hunter3', MODE = 'plain' }",
    ));
    let text = scene.hythe(&["explain", &file]).ok().out;
    assert!(!text.contains("hunter"), "a secret is shown:\n{text}");
    assert!(text.contains("DB_PASSWORD") && text.contains("localhost/hythe-test:1"), "{text}");
    let document = scene.hythe(&["explain", &file, "--json"]).ok();
    assert!(!document.out.contains("hunter"), "a secret is shown:\n{document:?}");
    assert_eq!(document.json()[0]["runtime"], scene.subject.name);
    assert_eq!(scene.hythe(&["services", "--json"]).ok().out, "[]\n", "explaining deployed something");
}

fn events_can_be_followed_from_a_cursor(scene: &mut Scene<'_>) {
    scene.deploy(&one(&scene.service, &stays("up"), "")).ok();
    let before = wait::until("its start is an event", || scene.events(), |events| events.len() > 1);
    let after = before[0]["cursor"].to_string();
    let follow = scene.agent.spawn(&["events", "-f", "--after", &after, "--service", &scene.service, "--json"]);
    scene.hythe(&["stop", &scene.service]).ok();
    wait::until(
        "the stop is an event",
        || scene.events(),
        |events| events.iter().any(|event| event["kind"] == "stopped"),
    );
    scene.agent.stop();
    let followed = follow.end().json_lines();
    scene.agent.start_again();
    let cursors =
        |events: &[serde_json::Value]| events.iter().map(|event| event["cursor"].as_u64().unwrap()).collect::<Vec<_>>();
    let kinds: Vec<_> = followed.iter().map(|event| event["kind"].clone()).collect();
    assert!(kinds.contains(&"stopped".into()), "{kinds:?}");
    let all = cursors(&followed);
    assert!(all.is_sorted() && all[0] == cursors(&before)[1], "from the cursor on, in order: {all:?}");
}

fn exec_passes_streams_and_the_exit_code(scene: &mut Scene<'_>) {
    scene.deploy(&one(&scene.service, &stays("up"), "")).ok();
    let ran = scene.hythe(&["exec", &scene.service, "sh", "-c", "echo out; echo err >&2; exit 42"]).ends_with(42);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("out\n", "err\n"));
    let fed = Ran::fed(&mut scene.agent.command(&["exec", "-i", &scene.service, "cat"]), b"through\nand through");
    assert_eq!(fed.ok().out, "through\nand through");
    let ran = scene
        .hythe(&[
            "exec",
            "-e",
            "MODE=x y",
            "-w",
            "/tmp",
            "-u",
            "app",
            &scene.service,
            "sh",
            "-c",
            "echo $MODE; pwd; id -u",
        ])
        .ok();
    assert_eq!(ran.out, "x y\n/tmp\n1000\n");
    scene.hythe(&["exec", &scene.service, "/does/not/exist"]).says(&["/does/not/exist"]);
}

fn a_difference_made_by_hand_is_shown(scene: &mut Scene<'_>) {
    scene.deploy(&one(&scene.service, &stays("up"), "restart = 'no'")).ok();
    let id = scene.it()["instance"]["id"].as_str().unwrap().to_owned();
    scene.engine().run(&["stop", &id]);
    wait::until("the stop by hand is seen", || scene.it(), |it| it["state"] != "running");
    let differences = scene.differences();
    assert!(differences.iter().any(|difference| difference["field"] == "state"), "{differences:#?}");
}

fn one_component_can_be_deployed_alone(scene: &mut Scene<'_>) {
    let service = scene.service.clone();
    let script = stays("up");
    let text = |mode: &str| {
        let keys = format!("env = {{ MODE = '{mode}' }}");
        several(&service, &[("a", &script, &keys), ("b", &script, &keys)])
    };
    scene.deploy(&text("old")).ok();
    let before = scene.ids();
    let file = scene.file(&text("new"));
    scene.hythe(&["deploy", "--component", "a", &file]).ok();
    let after = scene.ids();
    assert!(before[0] != after[0] && before[1] == after[1], "only `a` may be replaced: {before:?} {after:?}");
    scene.hythe(&["deploy", "--component", "c", &file]).ends_with(3).says(&["`c`", "`a`", "`b`"]);
}
