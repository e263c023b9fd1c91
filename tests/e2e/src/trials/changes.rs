//! What counts as a change beside the service file: a dependency that was restarted, a mounted file, a newer image
//! under the same tag.

use crate::files::{IMAGE, one, several, stays};
use crate::fixture::Fixture;
use crate::http;
use crate::trial::trials;
use crate::wait;

trials!("changes":
    a_dependent_is_restarted_after_a_request_and_not_after_a_crash Real,
    a_replaced_dependency_restarts_its_dependent Every,
    a_mounted_file_that_changed_replaces_the_instance Real,
    a_mounted_file_that_changed_is_signalled_where_that_is_asked_for Real,
    kill_sends_a_signal_and_the_restart_policy_decides Every,
    pull_policy_always_takes_what_the_tag_means_now Registry,
    pull_policy_never_stops_nothing Registry,
);

const HEALTH: &str = "health = { exec = 'true', interval = '200ms' }\nstop_grace = '1s'";
const FOLLOWS: &str = "depends_on = { db = { condition = 'healthy', restart = true } }\nstop_grace = '1s'";

/// How often the app was started, as it says itself.
fn starts(fixture: &Fixture<'_>) -> usize {
    fixture.hythe(&["logs", &format!("{}-app", fixture.service)]).ok().out.lines().count()
}

fn a_dependent_is_restarted_after_a_request_and_not_after_a_crash(fixture: &mut Fixture<'_>) {
    let crashes = "trap exit TERM; while :; do test -e /tmp/crash && rm /tmp/crash && exit 3; sleep 0.1; done";
    let keys = format!("{HEALTH}\nrestart = 'always'");
    fixture.deploy(&several(&fixture.service, &[("db", crashes, &keys), ("app", &stays("up"), FOLLOWS)])).ok();
    let db = format!("{}-db", fixture.service);
    fixture.hythe(&["restart", &format!("{}/db", fixture.service)]).ok();
    wait::until("the app was started again", || starts(fixture), |count| *count == 2);
    // It may end before that is answered.
    fixture.hythe(&["exec", &db, "touch", "/tmp/crash"]);
    let back = |it: &serde_json::Value| it["restarts"] == 1 && it["health"] == "healthy";
    wait::until("the database is back", || fixture.workload(&db), back);
    fixture.hythe(&["restart", &fixture.service]).ok();
    wait::until("all was started once more", || starts(fixture), |count| *count >= 3);
    assert_eq!(starts(fixture), 3);
}

fn a_replaced_dependency_restarts_its_dependent(fixture: &mut Fixture<'_>) {
    let text = |version: &str| {
        let keys = format!("{HEALTH}\nenv = {{ V = '{version}' }}");
        several(&fixture.service, &[("db", &stays("up"), &keys), ("app", &stays("up"), FOLLOWS)])
    };
    fixture.deploy(&text("1")).ok();
    let path = fixture.file(&text("2"));
    let dry = fixture.hythe(&["deploy", "--dry-run", &path, "--json"]).ok().json();
    let actions: Vec<&str> =
        dry["components"].as_array().unwrap().iter().filter_map(|it| it["action"].as_str()).collect();
    assert_eq!(actions, ["replace", "restart"], "{dry:#}");
    fixture.hythe(&["deploy", "--wait", &path]).ok();
    wait::until("the app was started again", || starts(fixture), |count| *count == 2);
    let app = fixture.workload(&format!("{}-app", fixture.service));
    assert_eq!((&app["generation"], &app["state"]), (&1.into(), &"running".into()), "{app:#}");
    fixture.hythe(&["deploy", "--wait", &path]).ok().says(&["nothing changed"]);
}

fn a_mounted_file_that_changed_replaces_the_instance(fixture: &mut Fixture<'_>) {
    let config = fixture.agent.path("config");
    std::fs::write(&config, "one\n").unwrap();
    let says = "trap exit TERM; cat /etc/config; sleep 3600 & wait";
    let text = |policy: &str| {
        let keys = format!("volumes = ['{}:/etc/config:ro']\nstop_grace = '1s'\n{policy}", config.display());
        one(&fixture.service, says, &keys)
    };
    fixture.deploy(&text("")).ok();
    fixture.deploy(&text("")).ok().says(&["nothing changed"]);
    std::fs::write(&config, "two\n").unwrap();
    let dry = fixture.hythe(&["deploy", "--dry-run", &fixture.file(&text(""))]).ok().out;
    assert!(dry.contains("replace") && dry.contains("file_digests"), "{dry}");
    fixture.deploy(&text("")).ok();
    wait::until("it reads the new content", || fixture.hythe(&["logs", &fixture.service]).out, |out| out == "two\n");
    assert_eq!(fixture.it()["generation"], 2);
    // A deploy that cannot read it forgets nothing.
    std::fs::remove_file(&config).unwrap();
    fixture.deploy(&text("")).ok();
    std::fs::write(&config, "more\n").unwrap();
    fixture.deploy(&text("")).ok();
    assert_eq!(fixture.it()["generation"], 3);
    std::fs::write(&config, "three\n").unwrap();
    fixture.deploy(&text("on_config_change = 'ignore'")).ok();
    assert_eq!(fixture.it()["generation"], 3);
}

fn a_mounted_file_that_changed_is_signalled_where_that_is_asked_for(fixture: &mut Fixture<'_>) {
    let config = fixture.agent.path("config");
    std::fs::write(&config, "one\n").unwrap();
    let says = "trap exit TERM; trap 'cat /config' HUP; cat /config; while :; do sleep 0.1; done";
    let text = |keys: &str| {
        let keys = format!("volumes = ['{}:/config']\non_config_change = 'signal:HUP'\n{keys}", config.display());
        one(&fixture.service, says, &keys)
    };
    let logs = || fixture.hythe(&["logs", &fixture.service]).out;
    fixture.deploy(&text("")).ok();
    wait::until("it has read the file", logs, |out| out == "one\n");
    let before = fixture.ids();
    std::fs::write(&config, "two\n").unwrap();
    let dry = fixture.hythe(&["deploy", "--dry-run", &fixture.file(&text(""))]).ok().out;
    assert!(dry.contains("signal") && !dry.contains("replace"), "{dry}");
    fixture.deploy(&text("")).ok();
    wait::until("it reads the new content", logs, |out| out == "one\ntwo\n");
    assert_eq!((fixture.ids(), &fixture.it()["generation"]), (before.clone(), &1.into()));
    assert!(fixture.differences().is_empty());
    assert!(fixture.events().iter().any(|event| event["kind"] == "reload" && event["details"]["signal"] == "SIGHUP"));
    fixture.deploy(&text("")).ok().says(&["nothing changed"]);
    // Another file in its place, as an editor puts it there, is not what the instance has mounted.
    std::fs::write(config.with_extension("new"), "three\n").unwrap();
    std::fs::rename(config.with_extension("new"), &config).unwrap();
    fixture.deploy(&text("")).ok();
    assert_ne!(fixture.ids(), before);
    wait::until("another instance reads it", logs, |out| out.ends_with("three\n"));
    let before = fixture.ids();
    std::fs::write(&config, "four\n").unwrap();
    fixture.deploy(&text("env = { V = '2' }")).ok();
    assert_ne!(fixture.ids(), before, "a signal changes no variables");
}

fn kill_sends_a_signal_and_the_restart_policy_decides(fixture: &mut Fixture<'_>) {
    let says = "trap exit TERM; trap 'echo hup' HUP; echo up; while :; do sleep 0.1; done";
    fixture.deploy(&one(&fixture.service, says, "restart = 'always'")).ok();
    let before = fixture.ids();
    fixture.hythe(&["kill", &fixture.service, "--signal", "HUP"]).ok();
    wait::until("it was sent HUP", || fixture.hythe(&["logs", &fixture.service]).out, |out| out == "up\nhup\n");
    fixture.hythe(&["kill", &fixture.service]).ok();
    wait::until("it was started again", || fixture.it(), |it| it["restarts"] == 1 && it["state"] == "running");
    assert_eq!(fixture.ids(), before);
    let events = fixture.events();
    let restarting = events.iter().find(|event| event["kind"] == "restarting").unwrap();
    assert_eq!(restarting["details"]["cause"], "requested", "{restarting:#}");
    fixture.hythe(&["kill", &fixture.service, "-s", "HUPP"]).ends_with(2).says(&["SIGHUP"]);
    fixture.hythe(&["kill", "nothing-here"]).ends_with(3);
    fixture.hythe(&["stop", &fixture.service]).ok();
    fixture.hythe(&["kill", &fixture.service]).ends_with(4).says(&["nothing of", "runs"]);
}

/// Builds an image that says this and pushes it; the runtime keeps none.
fn push(fixture: &Fixture<'_>, image: &str, says: &str) {
    let directory = fixture.agent.path(says);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("Dockerfile"), format!("FROM {IMAGE}\nRUN echo {says} >/says\n")).unwrap();
    let build = format!("\n[build.images]\n'{image}' = {{ context = '{says}' }}\n");
    let file = fixture.file(&format!("{}{build}", one(&fixture.service, "true", "").replace(IMAGE, image)));
    fixture.hythe(&["build", "--push", &file]).ok();
    fixture.hythe(&["images", "remove", image]).ok();
}

fn pull_policy_always_takes_what_the_tag_means_now(fixture: &mut Fixture<'_>) {
    let registry = fixture.environment.registry.as_ref().unwrap().address.clone();
    let image = |tag: &str| format!("{registry}/{}:{tag}", fixture.service);
    push(fixture, &image("1"), "one");
    push(fixture, &image("2"), "two");
    let says = "trap exit TERM; cat /says; sleep 3600 & wait";
    let text =
        |keys: &str| one(&fixture.service, says, &format!("stop_grace = '1s'\n{keys}")).replace(IMAGE, &image("1"));
    fixture.deploy(&text("")).ok();
    let manifest = |tag: &str| format!("/v2/{}/manifests/{tag}", fixture.service);
    http::copy_manifest(&registry, &manifest("2"), &manifest("1"));
    fixture.deploy(&text("")).ok().says(&["nothing changed"]);
    fixture.deploy(&text("pull_policy = 'always'")).ok();
    wait::until("the newer image runs", || fixture.hythe(&["logs", &fixture.service]).out, |out| out == "two\n");
    assert_eq!(fixture.it()["generation"], 2);
    let id = fixture.it()["instance"]["id"].clone();
    fixture.hythe(&["deploy", "--wait", "--pull", "always", &fixture.service]).ok();
    assert_eq!((&fixture.it()["generation"], &fixture.it()["instance"]["id"]), (&2.into(), &id));
    fixture.hythe(&["undeploy", &fixture.service]).ok();
    fixture.hythe(&["images", "remove", &image("1")]).ok();
}

fn pull_policy_never_stops_nothing(fixture: &mut Fixture<'_>) {
    let registry = fixture.environment.registry.as_ref().unwrap().address.clone();
    fixture.deploy(&one(&fixture.service, &stays("up"), "stop_grace = '1s'")).ok();
    let before = fixture.ids();
    let missing = format!("{registry}/{}:1", fixture.service);
    let text = one(&fixture.service, &stays("up"), "pull_policy = 'never'").replace(IMAGE, &missing);
    fixture.deploy(&text).ends_with(1).says(&[&missing, "is not on runtime", "hythe image load"]);
    assert_eq!(fixture.ids(), before);
    assert_eq!(fixture.it()["state"], "running");
    let text = one(&fixture.service, &stays("up"), "stop_grace = '1s'\nenv = { V = '2' }\npull_policy = 'never'");
    fixture.deploy(&text).ok();
}
