//! A replacement that fails costs nothing: what ran goes on running.

use crate::files::{one, stays};
use crate::http;
use crate::scene::Scene;
use crate::trial::trials;
use crate::wait;

trials!("rollback":
    an_unhealthy_replacement_is_taken_back Every,
    a_replacement_that_cannot_be_executed_is_taken_back Every,
    a_replacement_that_dies_is_taken_back Every,
    what_holds_a_port_serves_again Real,
);

const HEALTHY: &str = "health = { exec = 'true', interval = '200ms', retries = 2 }";
const UNHEALTHY: &str = "health = { exec = 'false', interval = '200ms', retries = 2 }";

/// A first version that is healthy; its instance id.
fn first(scene: &Scene<'_>) -> String {
    scene.deploy(&one(&scene.service, &stays("first"), HEALTHY)).ok();
    let it = scene.it();
    assert_eq!((&it["state"], &it["health"]), (&"running".into(), &"healthy".into()), "{it:#}");
    it["instance"]["id"].as_str().unwrap().to_owned()
}

/// The first version runs, alone and in the same instance, and a good third version replaces it.
#[track_caller]
fn is_back(scene: &Scene<'_>, first: &str) {
    let it = wait::until("the first version is healthy again", || scene.it(), |it| it["health"] == "healthy");
    assert_eq!((&it["instance"]["id"], &it["state"]), (&first.into(), &"running".into()), "{it:#}");
    assert!(it["message"].as_str().is_some_and(|message| message.contains("rolled back")), "{it:#}");
    let status = scene.hythe(&["status", &scene.service]).ok().out;
    assert!(status.contains("rolled back"), "status must say so:\n{status}");
    scene.has_instances(1);
    scene.deploy(&one(&scene.service, &stays("third"), HEALTHY)).ok();
    let it = scene.it();
    assert!(it["instance"]["id"] != first && it["state"] == "running", "{it:#}");
    assert_eq!(scene.hythe(&["logs", &scene.service]).ok().out, "third\n");
    scene.has_instances(1);
}

fn an_unhealthy_replacement_is_taken_back(scene: &mut Scene<'_>) {
    let id = first(scene);
    let second = one(&scene.service, &stays("second-was-here"), UNHEALTHY);
    scene.deploy(&second).ends_with(1).says(&["is not healthy", "second-was-here"]);
    is_back(scene, &id);
}

fn a_replacement_that_cannot_be_executed_is_taken_back(scene: &mut Scene<'_>) {
    let id = first(scene);
    let second = one(&scene.service, "", HEALTHY).replace("['sh', '-c', '''''']", "['/does/not/exist']");
    scene.deploy(&second).ends_with(1).says(&["/does/not/exist"]);
    is_back(scene, &id);
}

fn a_replacement_that_dies_is_taken_back(scene: &mut Scene<'_>) {
    let id = first(scene);
    let second = one(
        &scene.service,
        "echo dying; exit 4",
        "health = { exec = 'true', interval = '1s', start_period = '20s' }\nrestart = 'always'",
    );
    // It may be seen healthy before it is seen dead only if a probe gets in between; `exec` into the dead fails.
    scene.deploy(&second.replace("'true'", "'false'")).ends_with(1).says(&["exit code 4", "dying"]);
    is_back(scene, &id);
}

fn what_holds_a_port_serves_again(scene: &mut Scene<'_>) {
    let port = http::free_port();
    let address = format!("127.0.0.1:{port}");
    let page = |text: &str, health: &str| {
        let script = format!("mkdir /www; echo {text} >/www/index.html; trap exit TERM; httpd -f -p 80 -h /www & wait");
        one(&scene.service, &script, &format!("ports = ['{address}:80']\n{health}"))
    };
    let serves =
        |text: &str| wait::until("the page is served", || http::get(&address, "/"), |answer| answer.ends_with(text));
    scene.deploy(&page("one", "health = { http = 80, interval = '200ms', retries = 20 }")).ok();
    serves("one\n");
    let id = scene.it()["instance"]["id"].clone();
    scene
        .deploy(&page("two", "health = { tcp = 81, interval = '200ms', retries = 2 }"))
        .ends_with(1)
        .says(&["is not healthy"]);
    serves("one\n");
    assert_eq!(scene.it()["instance"]["id"], id, "another instance serves");
    scene.deploy(&page("three", "health = { http = 80, interval = '200ms', retries = 20 }")).ok();
    serves("three\n");
    scene.has_instances(1);
}
