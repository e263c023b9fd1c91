//! Files of a workload are kept as an image, and a deploy goes back to them.

use std::time::Duration;

use serde_json::Value;

use crate::engine::Engine;
use crate::files::{IMAGE, one, stays};
use crate::scene::Scene;
use crate::subject::Subject;
use crate::trial::trials;
use crate::wait;

trials!("snapshot":
    a_service_goes_back_to_its_files Every,
    what_is_used_stays Every,
    of_two_at_once_each_is_its_own Every,
    an_answer_that_is_lost_loses_nothing Every,
    it_outlives_its_service Every,
    an_agent_killed_before_the_engine_acts_has_made_nothing Real,
    an_agent_killed_before_it_hears_has_made_it Real,
    a_killed_agent_leaves_nothing_half_made Real,
    another_runtime_does_not_have_it Both,
    what_cannot_be_kept Memory,
);

const FAULTS: &str = "HYTHE_FAULTS";

/// Has a file that says `old`, unless its image brought one.
fn text(scene: &Scene<'_>, image: &str) -> String {
    let script = format!("test -e /file || echo old > /file; {}", stays("up"));
    one(&scene.service, &script, "stop_grace = '1s'").replace(IMAGE, image)
}

fn deployed(scene: &Scene<'_>) {
    scene.deploy(&text(scene, IMAGE)).ok();
}

#[track_caller]
fn inside(scene: &Scene<'_>, script: &str) -> String {
    scene.hythe(&["exec", &scene.service, "--", "sh", "-c", script]).ok().out.trim().to_owned()
}

/// The image that is made, as a script reads it.
#[track_caller]
fn create(scene: &Scene<'_>, options: &[&str]) -> String {
    let words = [&["snapshot", "create", &scene.service], options].concat();
    scene.hythe(&words).ok().says(&["image = \"localhost/hythe/"]).out.trim().to_owned()
}

fn named(scene: &Scene<'_>, name: &str) -> String {
    format!("localhost/hythe/{0}/{0}:{name}", scene.service)
}

fn short(scene: &Scene<'_>, name: &str) -> String {
    format!("{0}/{0}:{name}", scene.service)
}

fn listed(scene: &Scene<'_>) -> Vec<String> {
    let rows = scene.hythe(&["snapshot", "ls", &scene.service, "--json"]).ok().json();
    rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

fn kinds(scene: &Scene<'_>) -> Vec<String> {
    scene.events().iter().map(|event| event["kind"].as_str().unwrap_or_default().to_owned()).collect()
}

fn a_service_goes_back_to_its_files(scene: &mut Scene<'_>) {
    deployed(scene);
    let before = scene.it();
    let image = create(scene, &[]);
    assert_eq!(image, named(scene, "1"));
    let after = scene.it();
    assert_eq!(
        (&after["instance"]["id"], &after["restarts"], &after["state"]),
        (&before["instance"]["id"], &0.into(), &"running".into())
    );
    inside(scene, "echo new > /file");
    assert_eq!(create(scene, &["--name", "later"]), named(scene, "later"));

    scene.deploy(&text(scene, &image)).ok();
    assert_eq!(inside(scene, "cat /file"), "old");
    assert_eq!(scene.differences(), [Value::Null; 0]);
    scene.deploy(&text(scene, &named(scene, "later"))).ok();
    assert_eq!(inside(scene, "cat /file"), "new");

    let told = kinds(scene);
    assert_eq!(told.iter().filter(|kind| *kind == "snapshot.created").count(), 2, "{told:?}");
    assert!(!told.iter().any(|kind| kind == "image.pulled" || kind == "drift"), "{told:?}");
    let shown = scene.hythe(&["snapshot", "inspect", &short(scene, "1"), "--json"]).ok().json();
    assert_eq!((&shown["name"], &shown["runtime"]), (&image.into(), &scene.subject.name.into()), "{shown:#}");
    let mounts = shown["mounts"].as_array().map_or(0, Vec::len);
    assert_eq!(mounts == 0, !shown["problem"].is_null(), "{shown:#}");
    for word in ["instances", "status"] {
        scene.hythe(&[word]).ok();
    }
}

fn what_is_used_stays(scene: &mut Scene<'_>) {
    deployed(scene);
    let image = create(scene, &[]);
    scene.deploy(&text(scene, &image)).ok();
    let refused = scene.hythe(&["snapshot", "rm", &short(scene, "1")]);
    refused.ends_with(4).says(&[&image, &scene.service, "hint:"]);
    assert_eq!(listed(scene), [image.as_str()]);
    scene.deploy(&text(scene, IMAGE)).ok();
    scene.hythe(&["snapshot", "rm", &image]).ok();
    assert_eq!(listed(scene), [""; 0]);
    scene.hythe(&["snapshot", "rm", &image]).ends_with(3).says(&["hythe snapshot ls"]);
    assert!(kinds(scene).iter().any(|kind| kind == "snapshot.removed"));
    // A deploy of what is gone fails in no time, and what ran goes on.
    scene.deploy(&text(scene, &image)).ends_with(1).says(&["has no snapshot", "hint:"]);
    assert_eq!(inside(scene, "cat /file"), "old");
}

fn of_two_at_once_each_is_its_own(scene: &mut Scene<'_>) {
    deployed(scene);
    let begin = |options: &[&str]| scene.agent.spawn(&[&["snapshot", "create", &scene.service], options].concat());
    let both = [begin(&[]), begin(&[])].map(|running| running.end().ok().out.trim().to_owned());
    let mut expected = both.to_vec();
    expected.sort();
    assert_eq!(listed(scene), expected);
    assert_ne!(both[0], both[1]);
    let same = [begin(&["--name", "same"]), begin(&["--name", "same"])].map(|running| running.end().code);
    assert!(same == [Some(0), Some(4)] || same == [Some(4), Some(0)], "{same:?}");
    let again = scene.hythe(&["snapshot", "create", &scene.service, "--name", "same"]);
    again.ends_with(4).says(&[&named(scene, "same"), "exists already", "hint:"]);
    assert_eq!(listed(scene).len(), 3);
}

fn an_answer_that_is_lost_loses_nothing(scene: &mut Scene<'_>) {
    for times in [1, 5] {
        let rules: Vec<String> = (1..=times).map(|nth| format!("snapshot-commit {nth} lose")).collect();
        scene.agent.set(FAULTS, rules.join("; "));
        scene.agent.restart();
        scene.agent.unset_all();
        let text = text(scene, IMAGE).replace("stop_grace", &format!("env = {{ ROUND = '{times}' }}\nstop_grace"));
        scene.deploy(&text).ok();
        let name = format!("lost{times}");
        create(scene, &["--name", &name]);
        assert!(listed(scene).contains(&named(scene, &name)), "lost {times} times");
    }
}

fn it_outlives_its_service(scene: &mut Scene<'_>) {
    deployed(scene);
    scene.hythe(&["stop", &scene.service]).ok();
    let image = create(scene, &[]);
    let left = scene.hythe(&["undeploy", "--volumes", &scene.service]).ok();
    left.says(&["1 snapshot stays", "hythe snapshot ls"]);
    scene.hythe(&["gc", "--volumes"]).ok();
    if scene.subject.engine_is_real() {
        scene.agent.restart();
    }
    assert_eq!(listed(scene), [image.as_str()]);
    scene.deploy(&text(scene, &image)).ok();
    assert_eq!(inside(scene, "cat /file"), "old");
}

/// Has the agent begin a snapshot that one fault makes it wait for, and kills it once `is_time`; then it is itself again.
fn killed_in(scene: &mut Scene<'_>, fault: &str, is_time: impl Fn(&Scene<'_>) -> bool) {
    deployed(scene);
    scene.agent.set(FAULTS, format!("snapshot-commit * {fault} 600000"));
    scene.agent.restart();
    scene.agent.unset_all();
    scene.await_state("running");
    let running = scene.agent.spawn(&["snapshot", "create", &scene.service, "--name", "k"]);
    wait::until("it is time", || is_time(scene), |now| *now);
    scene.agent.kill();
    running.end().ends_with(5);
    scene.agent.start_again();
    let operations = scene.hythe(&["operations", "--json"]).ok().json();
    let it = operations.as_array().unwrap().iter().find(|one| one["kind"] == "snapshot").unwrap();
    assert_eq!((&it["state"], &it["error"]["kind"]), (&"failed".into(), &"unavailable".into()), "{it:#}");
}

fn an_agent_killed_before_the_engine_acts_has_made_nothing(scene: &mut Scene<'_>) {
    killed_in(scene, "delay", |scene| {
        let operations = scene.hythe(&["operations", "--json"]).ok().json();
        operations.as_array().unwrap().iter().any(|one| one["kind"] == "snapshot" && one["state"] == "running")
    });
    assert_eq!(listed(scene), [""; 0]);
    assert_eq!(create(scene, &["--name", "k"]), named(scene, "k"));
}

fn an_agent_killed_before_it_hears_has_made_it(scene: &mut Scene<'_>) {
    killed_in(scene, "delay-reply", |scene| !listed(scene).is_empty());
    assert_eq!(listed(scene), [named(scene, "k")]);
    let again = scene.hythe(&["snapshot", "create", &scene.service, "--name", "k"]);
    again.ends_with(4).says(&["exists already", "hythe snapshot rm"]);
    assert_eq!(create(scene, &[]), named(scene, "1"));
    scene.deploy(&text(scene, &named(scene, "k"))).ok();
    assert_eq!(inside(scene, "cat /file"), "old");
}

/// Killed at several moments of the work. The engine may have done it or not; there is no third. That it holds the instance meanwhile is no drift to heal.
fn a_killed_agent_leaves_nothing_half_made(scene: &mut Scene<'_>) {
    scene.agent.reconfigure(&format!("drift_interval = '1s'\n{}", scene.subject.config()));
    scene.deploy(&format!("drift = 'heal'\n{}", text(scene, IMAGE))).ok();
    inside(scene, "dd if=/dev/urandom of=/large bs=1048576 count=64; md5sum < /large > /sum");
    let id = scene.it()["instance"]["id"].clone();
    let mut made = Vec::new();
    for delay in [30, 150, 400, 900] {
        let name = format!("k{delay}");
        let running = scene.agent.spawn(&["snapshot", "create", &scene.service, "--name", &name]);
        std::thread::sleep(Duration::from_millis(delay));
        scene.agent.kill();
        // Whatever it has heard of.
        running.kill();
        scene.agent.start_again();
        let it = scene.await_state("running");
        assert_eq!((&it["instance"]["id"], &it["restarts"]), (&id, &0.into()), "after {delay} ms: {it:#}");
        // An engine goes on with what it was asked, and holds the instance that long.
        let alive = || scene.hythe(&["exec", &scene.service, "--", "echo", "alive"]);
        wait::until("it runs on", alive, |ran| ran.code == Some(0) && ran.out.trim() == "alive");
        let again = scene.hythe(&["snapshot", "create", &scene.service, "--name", &name]);
        let image = named(scene, &name);
        assert!(matches!(again.code, Some(0 | 4)), "after {delay} ms: {again:?}");
        assert!(listed(scene).contains(&image), "after {delay} ms: {again:?}");
        made.push(image);
    }
    assert_eq!(unnamed(scene), [""; 0], "left by a killed agent");
    let told = scene.hythe(&["events", "--json"]).ok().out;
    assert!(!told.contains("\"drift\""), "{told}");
    for image in made {
        scene.deploy(&text(scene, &image)).ok();
        assert_eq!(inside(scene, "md5sum < /large | cmp - /sum && echo whole"), "whole", "{image}");
    }
}

/// Images of the service's files that have no name, as the engine's own program lists them.
fn unnamed(scene: &Scene<'_>) -> Vec<String> {
    let Engine::Program(_) = scene.engine() else { return Vec::new() };
    let label = format!("label=hythe.snapshot.service={}", scene.service);
    let words = ["images", "-a", "--filter", &label, "--filter", "dangling=true", "--format", "{{.ID}}"];
    scene.engine().run(&words).lines().map(str::to_owned).collect()
}

fn another_runtime_does_not_have_it(scene: &mut Scene<'_>) {
    let docker = Subject::docker(scene.environment).unwrap();
    scene.agent.reconfigure(&format!("{}{}", scene.subject.config(), docker.config()));
    deployed(scene);
    let image = create(scene, &[]);
    let other = format!("{}-o", scene.service);
    let moved = text(scene, &image).replace(&format!("\"{}\"", scene.service), &format!("\"{other}\""));
    let moved = format!("{moved}runtime = 'docker'\n");
    scene.deploy(&moved).ends_with(1).says(&["`docker` has no snapshot", "runtime = \"podman\""]);
    assert_eq!(scene.hythe(&["snapshot", "ls", "--runtime", "docker", "--json"]).ok().json(), serde_json::json!([]));
}

fn what_cannot_be_kept(scene: &mut Scene<'_>) {
    let service = scene.service.clone();
    scene.hythe(&["snapshot", "create", "nothing"]).ends_with(3).says(&["`nothing`", "hint:"]);
    scene.hythe(&["snapshot", "create", "nothing/at-all"]).ends_with(3);
    deployed(scene);
    scene.hythe(&["snapshot", "create", &service, "--name", "a b"]).ends_with(2).says(&["`a b`", "hint:"]);
    scene.hythe(&["snapshot", "inspect", &service]).ends_with(2).says(&["<service>/<component>:<name>"]);
    scene.hythe(&["snapshot", "inspect", &short(scene, "1")]).ends_with(3).says(&["hythe snapshot ls"]);
    scene.hythe(&["snapshot", "ls", "--runtime", "nowhere"]).ends_with(3).says(&["nowhere"]);
    scene.hythe(&["snapshot", "rm", "docker.io/library/alpine:3"]).ends_with(2);
    scene.hythe(&["snapshot"]).ends_with(2);
    let operation = scene.hythe(&["snapshot", "create", &service, "--json"]).ok().json();
    assert_eq!((&operation["kind"], &operation["state"]), (&"snapshot".into(), &"succeeded".into()));
    assert_eq!(operation["result"]["image"], named(scene, "1"), "{operation:#}");
    let shown = scene.hythe(&["snapshot", "inspect", &short(scene, "1")]).ok().says(&["no mount"]).out;
    assert!(shown.contains(&named(scene, "1")) && shown.contains("generation 1"), "{shown}");
    let completion = scene.hythe(&["completions", "bash"]).ok().out;
    assert!(completion.contains("hythe__subcmd__snapshot") && completion.contains("inspect"), "{completion}");
}
