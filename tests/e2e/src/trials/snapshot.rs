//! Files of a workload are kept as an image, and a deploy goes back to them.

use std::time::Duration;

use serde_json::Value;

use crate::engine::Engine;
use crate::files::{IMAGE, one, stays};
use crate::fixture::Fixture;
use crate::program::Ran;
use crate::subject::Subject;
use crate::trial::trials;
use crate::wait;

trials!("snapshot":
    a_service_goes_back_to_its_files Every,
    restore_brings_files_back_until_a_deploy_names_another_image Every,
    restore_of_what_is_not_healthy_leaves_what_ran Every,
    restore_of_what_is_not_there_is_refused Every,
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
fn text(fixture: &Fixture<'_>, image: &str) -> String {
    let script = format!("test -e /file || echo old > /file; {}", stays("up"));
    one(&fixture.service, &script, "stop_grace = '1s'").replace(IMAGE, image)
}

fn deployed(fixture: &Fixture<'_>) {
    fixture.deploy(&text(fixture, IMAGE)).ok();
}

#[track_caller]
fn inside(fixture: &Fixture<'_>, script: &str) -> String {
    fixture.hythe(&["exec", &fixture.service, "--", "sh", "-c", script]).ok().out.trim().to_owned()
}

/// The image that is made, as a script reads it.
#[track_caller]
fn create(fixture: &Fixture<'_>, options: &[&str]) -> String {
    let words = [&["snapshot", "create", &fixture.service], options].concat();
    fixture.hythe(&words).ok().says(&["hythe snapshot restore"]).out.trim().to_owned()
}

fn named(fixture: &Fixture<'_>, name: &str) -> String {
    format!("localhost/hythe/{0}/{0}:{name}", fixture.service)
}

fn short(fixture: &Fixture<'_>, name: &str) -> String {
    format!("{0}/{0}:{name}", fixture.service)
}

fn listed(fixture: &Fixture<'_>) -> Vec<String> {
    let rows = fixture.hythe(&["snapshot", "ls", &fixture.service, "--json"]).ok().json();
    rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

fn kinds(fixture: &Fixture<'_>) -> Vec<String> {
    fixture.events().iter().map(|event| event["kind"].as_str().unwrap_or_default().to_owned()).collect()
}

fn a_service_goes_back_to_its_files(fixture: &mut Fixture<'_>) {
    deployed(fixture);
    let before = fixture.it();
    let image = create(fixture, &[]);
    assert_eq!(image, named(fixture, "1"));
    let after = fixture.it();
    assert_eq!(
        (&after["instance"]["id"], &after["restarts"], &after["state"]),
        (&before["instance"]["id"], &0.into(), &"running".into())
    );
    inside(fixture, "echo new > /file");
    assert_eq!(create(fixture, &["--name", "later"]), named(fixture, "later"));

    fixture.deploy(&text(fixture, &image)).ok();
    assert_eq!(inside(fixture, "cat /file"), "old");
    assert_eq!(fixture.differences(), [Value::Null; 0]);
    fixture.deploy(&text(fixture, &named(fixture, "later"))).ok();
    assert_eq!(inside(fixture, "cat /file"), "new");

    let told = kinds(fixture);
    assert_eq!(told.iter().filter(|kind| *kind == "snapshot.created").count(), 2, "{told:?}");
    assert!(!told.iter().any(|kind| kind == "image.pulled" || kind == "drift"), "{told:?}");
    let shown = fixture.hythe(&["snapshot", "inspect", &short(fixture, "1"), "--json"]).ok().json();
    assert_eq!((&shown["name"], &shown["runtime"]), (&image.into(), &fixture.subject.name.into()), "{shown:#}");
    let mounts = shown["mounts"].as_array().map_or(0, Vec::len);
    assert_eq!(mounts == 0, !shown["problem"].is_null(), "{shown:#}");
    for word in ["instances", "status"] {
        fixture.hythe(&[word]).ok();
    }
}

fn restore(fixture: &Fixture<'_>, name: &str) -> Ran {
    fixture.hythe(&["snapshot", "restore", &format!("{}{name}", fixture.service)])
}

fn restore_brings_files_back_until_a_deploy_names_another_image(fixture: &mut Fixture<'_>) {
    deployed(fixture);
    for word in ["one", "two", "three"] {
        inside(fixture, &format!("echo {word} > /file"));
        create(fixture, &[]);
    }
    inside(fixture, "echo broken > /file");
    restore(fixture, "@2").ok();
    assert_eq!(inside(fixture, "cat /file"), "two");
    let it = fixture.it();
    assert_eq!((it["image"].as_str(), it["restored_over"].as_str()), (Some(&*named(fixture, "2")), Some(IMAGE)));
    let status = fixture.hythe(&["status", &fixture.service]).ok().out;
    assert!(status.contains(&format!("in place of {IMAGE}")), "{status}");
    let id = it["instance"]["id"].clone();
    fixture.deploy(&text(fixture, IMAGE)).ok();
    assert_eq!((&fixture.it()["instance"]["id"], inside(fixture, "cat /file").as_str()), (&id, "two"));
    // The newest, and one after later ones.
    restore(fixture, "").ok();
    assert_eq!(inside(fixture, "cat /file"), "three");
    restore(fixture, "@1").ok();
    assert_eq!(inside(fixture, "cat /file"), "one");
    fixture.hythe(&["snapshot", "rm", &short(fixture, "1")]).ends_with(4);
    fixture.deploy(&text(fixture, &named(fixture, "3"))).ok();
    assert_eq!(inside(fixture, "cat /file"), "three");
    fixture.deploy(&text(fixture, IMAGE)).ok();
    assert!(fixture.it()["restored_over"].is_null());
}

fn restore_of_what_is_not_healthy_leaves_what_ran(fixture: &mut Fixture<'_>) {
    deployed(fixture);
    inside(fixture, "echo bad > /file");
    create(fixture, &[]);
    inside(fixture, "echo good > /file");
    create(fixture, &[]);
    restore(fixture, "@2").ok();
    let checked = format!(
        "{}\n[components.health]\nexec = ['grep', 'good', '/file']\ninterval = '100ms'\nretries = 2\n",
        text(fixture, IMAGE)
    );
    fixture.deploy(&checked).ok();
    restore(fixture, "@1").ends_with(1).says(&["not healthy"]);
    assert_eq!(inside(fixture, "cat /file"), "good");
    assert_eq!(fixture.it()["image"].as_str(), Some(&*named(fixture, "2")));
}

fn restore_of_what_is_not_there_is_refused(fixture: &mut Fixture<'_>) {
    deployed(fixture);
    let before = fixture.it();
    restore(fixture, "").ends_with(3).says(&["has no snapshot", "hythe snapshot ls"]);
    restore(fixture, "@7").ends_with(3).says(&["`7`"]);
    restore(fixture, "@a b").ends_with(2);
    assert_eq!(fixture.it()["generation"], before["generation"]);
}

fn what_is_used_stays(fixture: &mut Fixture<'_>) {
    deployed(fixture);
    let image = create(fixture, &[]);
    fixture.deploy(&text(fixture, &image)).ok();
    let refused = fixture.hythe(&["snapshot", "rm", &short(fixture, "1")]);
    refused.ends_with(4).says(&[&image, &fixture.service, "hint:"]);
    assert_eq!(listed(fixture), [image.as_str()]);
    fixture.deploy(&text(fixture, IMAGE)).ok();
    fixture.hythe(&["snapshot", "rm", &image]).ok();
    assert_eq!(listed(fixture), [""; 0]);
    fixture.hythe(&["snapshot", "rm", &image]).ends_with(3).says(&["hythe snapshot ls"]);
    assert!(kinds(fixture).iter().any(|kind| kind == "snapshot.removed"));
    // A deploy of what is gone fails in no time, and what ran goes on.
    fixture.deploy(&text(fixture, &image)).ends_with(1).says(&["has no snapshot", "hint:"]);
    assert_eq!(inside(fixture, "cat /file"), "old");
}

fn of_two_at_once_each_is_its_own(fixture: &mut Fixture<'_>) {
    deployed(fixture);
    let begin = |options: &[&str]| fixture.agent.spawn(&[&["snapshot", "create", &fixture.service], options].concat());
    let both = [begin(&[]), begin(&[])].map(|running| running.end().ok().out.trim().to_owned());
    let mut expected = both.to_vec();
    expected.sort();
    assert_eq!(listed(fixture), expected);
    assert_ne!(both[0], both[1]);
    let same = [begin(&["--name", "same"]), begin(&["--name", "same"])].map(|running| running.end().code);
    assert!(same == [Some(0), Some(4)] || same == [Some(4), Some(0)], "{same:?}");
    let again = fixture.hythe(&["snapshot", "create", &fixture.service, "--name", "same"]);
    again.ends_with(4).says(&[&named(fixture, "same"), "exists already", "hint:"]);
    assert_eq!(listed(fixture).len(), 3);
}

fn an_answer_that_is_lost_loses_nothing(fixture: &mut Fixture<'_>) {
    for times in [1, 5] {
        let rules: Vec<String> = (1..=times).map(|nth| format!("snapshot-commit {nth} lose")).collect();
        fixture.agent.set(FAULTS, rules.join("; "));
        fixture.agent.restart();
        fixture.agent.unset_all();
        let text = text(fixture, IMAGE).replace("stop_grace", &format!("env = {{ ROUND = '{times}' }}\nstop_grace"));
        fixture.deploy(&text).ok();
        let name = format!("lost{times}");
        create(fixture, &["--name", &name]);
        assert!(listed(fixture).contains(&named(fixture, &name)), "lost {times} times");
    }
}

fn it_outlives_its_service(fixture: &mut Fixture<'_>) {
    deployed(fixture);
    fixture.hythe(&["stop", &fixture.service]).ok();
    let image = create(fixture, &[]);
    let left = fixture.hythe(&["undeploy", "--volumes", &fixture.service]).ok();
    left.says(&["1 snapshot stays", "hythe snapshot ls"]);
    fixture.hythe(&["gc", "--volumes"]).ok();
    if fixture.subject.engine_is_real() {
        fixture.agent.restart();
    }
    assert_eq!(listed(fixture), [image.as_str()]);
    fixture.deploy(&text(fixture, &image)).ok();
    assert_eq!(inside(fixture, "cat /file"), "old");
}

/// Has the agent begin a snapshot that one fault makes it wait for, and kills it once `is_time`; then it is itself again.
fn killed_in(fixture: &mut Fixture<'_>, fault: &str, is_time: impl Fn(&Fixture<'_>) -> bool) {
    deployed(fixture);
    fixture.agent.set(FAULTS, format!("snapshot-commit * {fault} 600000"));
    fixture.agent.restart();
    fixture.agent.unset_all();
    fixture.await_state("running");
    let running = fixture.agent.spawn(&["snapshot", "create", &fixture.service, "--name", "k"]);
    wait::until("it is time", || is_time(fixture), |now| *now);
    fixture.agent.kill();
    running.end().ends_with(5);
    fixture.agent.start_again();
    let operations = fixture.hythe(&["operations", "--json"]).ok().json();
    let it = operations.as_array().unwrap().iter().find(|one| one["kind"] == "snapshot").unwrap();
    assert_eq!((&it["state"], &it["error"]["kind"]), (&"failed".into(), &"unavailable".into()), "{it:#}");
}

fn an_agent_killed_before_the_engine_acts_has_made_nothing(fixture: &mut Fixture<'_>) {
    killed_in(fixture, "delay", |fixture| {
        let operations = fixture.hythe(&["operations", "--json"]).ok().json();
        operations.as_array().unwrap().iter().any(|one| one["kind"] == "snapshot" && one["state"] == "running")
    });
    assert_eq!(listed(fixture), [""; 0]);
    assert_eq!(create(fixture, &["--name", "k"]), named(fixture, "k"));
}

fn an_agent_killed_before_it_hears_has_made_it(fixture: &mut Fixture<'_>) {
    killed_in(fixture, "delay-reply", |fixture| !listed(fixture).is_empty());
    assert_eq!(listed(fixture), [named(fixture, "k")]);
    let again = fixture.hythe(&["snapshot", "create", &fixture.service, "--name", "k"]);
    again.ends_with(4).says(&["exists already", "hythe snapshot rm"]);
    assert_eq!(create(fixture, &[]), named(fixture, "1"));
    fixture.deploy(&text(fixture, &named(fixture, "k"))).ok();
    assert_eq!(inside(fixture, "cat /file"), "old");
}

/// Killed at several moments of the work. The engine may have done it or not; there is no third. That it holds the instance meanwhile is no drift to heal.
fn a_killed_agent_leaves_nothing_half_made(fixture: &mut Fixture<'_>) {
    fixture.agent.reconfigure(&format!("drift_interval = '1s'\n{}", fixture.subject.config()));
    fixture.deploy(&format!("drift = 'heal'\n{}", text(fixture, IMAGE))).ok();
    inside(fixture, "dd if=/dev/urandom of=/large bs=1048576 count=64; md5sum < /large > /sum");
    let id = fixture.it()["instance"]["id"].clone();
    let mut made = Vec::new();
    for delay in [30, 150, 400, 900] {
        let name = format!("k{delay}");
        let running = fixture.agent.spawn(&["snapshot", "create", &fixture.service, "--name", &name]);
        std::thread::sleep(Duration::from_millis(delay));
        fixture.agent.kill();
        // Whatever it has heard of.
        running.kill();
        fixture.agent.start_again();
        let it = fixture.await_state("running");
        assert_eq!((&it["instance"]["id"], &it["restarts"]), (&id, &0.into()), "after {delay} ms: {it:#}");
        // An engine goes on with what it was asked, and holds the instance that long.
        let alive = || fixture.hythe(&["exec", &fixture.service, "--", "echo", "alive"]);
        wait::until("it runs on", alive, |ran| ran.code == Some(0) && ran.out.trim() == "alive");
        let again = fixture.hythe(&["snapshot", "create", &fixture.service, "--name", &name]);
        let image = named(fixture, &name);
        assert!(matches!(again.code, Some(0 | 4)), "after {delay} ms: {again:?}");
        assert!(listed(fixture).contains(&image), "after {delay} ms: {again:?}");
        made.push(image);
    }
    assert_eq!(unnamed(fixture), [""; 0], "left by a killed agent");
    let told = fixture.hythe(&["events", "--json"]).ok().out;
    assert!(!told.contains("\"drift\""), "{told}");
    for image in made {
        fixture.deploy(&text(fixture, &image)).ok();
        assert_eq!(inside(fixture, "md5sum < /large | cmp - /sum && echo whole"), "whole", "{image}");
    }
}

/// Images of the service's files that have no name, as the engine's own program lists them.
fn unnamed(fixture: &Fixture<'_>) -> Vec<String> {
    let Engine::Program(_) = fixture.engine() else { return Vec::new() };
    let label = format!("label=hythe.snapshot.service={}", fixture.service);
    let words = ["images", "-a", "--filter", &label, "--filter", "dangling=true", "--format", "{{.ID}}"];
    fixture.engine().run(&words).lines().map(str::to_owned).collect()
}

fn another_runtime_does_not_have_it(fixture: &mut Fixture<'_>) {
    let docker = Subject::docker(fixture.environment).unwrap();
    fixture.agent.reconfigure(&format!("{}{}", fixture.subject.config(), docker.config()));
    deployed(fixture);
    let image = create(fixture, &[]);
    let other = format!("{}-o", fixture.service);
    let moved = text(fixture, &image).replace(&format!("\"{}\"", fixture.service), &format!("\"{other}\""));
    let moved = format!("{moved}runtime = 'docker'\n");
    fixture.deploy(&moved).ends_with(1).says(&["`docker` has no snapshot", "runtime = \"podman\""]);
    assert_eq!(fixture.hythe(&["snapshot", "ls", "--runtime", "docker", "--json"]).ok().json(), serde_json::json!([]));
}

fn what_cannot_be_kept(fixture: &mut Fixture<'_>) {
    let service = fixture.service.clone();
    fixture.hythe(&["snapshot", "create", "nothing"]).ends_with(3).says(&["`nothing`", "hint:"]);
    fixture.hythe(&["snapshot", "create", "nothing/at-all"]).ends_with(3);
    deployed(fixture);
    fixture.hythe(&["snapshot", "create", &service, "--name", "a b"]).ends_with(2).says(&["`a b`", "hint:"]);
    fixture.hythe(&["snapshot", "inspect", &service]).ends_with(2).says(&["<service>/<component>:<name>"]);
    fixture.hythe(&["snapshot", "inspect", &short(fixture, "1")]).ends_with(3).says(&["hythe snapshot ls"]);
    fixture.hythe(&["snapshot", "ls", "--runtime", "nowhere"]).ends_with(3).says(&["nowhere"]);
    fixture.hythe(&["snapshot", "rm", "docker.io/library/alpine:3"]).ends_with(2);
    fixture.hythe(&["snapshot"]).ends_with(2);
    let operation = fixture.hythe(&["snapshot", "create", &service, "--json"]).ok().json();
    assert_eq!((&operation["kind"], &operation["state"]), (&"snapshot".into(), &"succeeded".into()));
    assert_eq!(operation["result"]["image"], named(fixture, "1"), "{operation:#}");
    let shown = fixture.hythe(&["snapshot", "inspect", &short(fixture, "1")]).ok().says(&["no mount"]).out;
    assert!(shown.contains(&named(fixture, "1")) && shown.contains("generation 1"), "{shown}");
    let completion = fixture.hythe(&["completions", "bash"]).ok().out;
    assert!(completion.contains("hythe__subcmd__snapshot") && completion.contains("inspect"), "{completion}");
}
