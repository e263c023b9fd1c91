//! A replacement that fails costs nothing: what ran goes on running.

use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::http;
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
fn first(fixture: &Fixture<'_>) -> String {
    fixture.deploy(&one(&fixture.service, &stays("first"), HEALTHY)).ok();
    let it = fixture.it();
    assert_eq!((&it["state"], &it["health"]), (&"running".into(), &"healthy".into()), "{it:#}");
    it["instance"]["id"].as_str().unwrap().to_owned()
}

/// The first version runs, alone and in the same instance, and a good third version replaces it.
#[track_caller]
fn is_back(fixture: &Fixture<'_>, first: &str) {
    let it = wait::until("the first version is healthy again", || fixture.it(), |it| it["health"] == "healthy");
    assert_eq!((&it["instance"]["id"], &it["state"]), (&first.into(), &"running".into()), "{it:#}");
    assert!(it["message"].as_str().is_some_and(|message| message.contains("rolled back")), "{it:#}");
    let status = fixture.hythe(&["status", &fixture.service]).ok().out;
    assert!(status.contains("rolled back"), "status must say so:\n{status}");
    fixture.has_instances(1);
    // What runs can be restarted, and that is no failure.
    fixture.hythe(&["restart", &fixture.service]).ok();
    fixture.has_instances(1);
    fixture.deploy(&one(&fixture.service, &stays("third"), HEALTHY)).ok();
    let it = fixture.it();
    assert!(it["instance"]["id"] != first && it["state"] == "running", "{it:#}");
    assert_eq!(fixture.hythe(&["logs", &fixture.service]).ok().out, "third\n");
    fixture.has_instances(1);
}

fn an_unhealthy_replacement_is_taken_back(fixture: &mut Fixture<'_>) {
    let id = first(fixture);
    let second = one(&fixture.service, &stays("second-was-here"), UNHEALTHY);
    fixture.deploy(&second).ends_with(1).says(&["is not healthy", "second-was-here"]);
    is_back(fixture, &id);
}

fn a_replacement_that_cannot_be_executed_is_taken_back(fixture: &mut Fixture<'_>) {
    let id = first(fixture);
    let second = one(&fixture.service, "", HEALTHY).replace("['sh', '-c', '''''']", "['/does/not/exist']");
    fixture.deploy(&second).ends_with(1).says(&["/does/not/exist"]);
    is_back(fixture, &id);
}

fn a_replacement_that_dies_is_taken_back(fixture: &mut Fixture<'_>) {
    let id = first(fixture);
    let second = one(
        &fixture.service,
        "echo dying; exit 4",
        "health = { exec = 'true', interval = '1s', start_period = '20s' }\nrestart = 'always'",
    );
    // It may be seen healthy before it is seen dead only if a probe gets in between; `exec` into the dead fails.
    fixture.deploy(&second.replace("'true'", "'false'")).ends_with(1).says(&["exit code 4", "dying"]);
    is_back(fixture, &id);
}

fn what_holds_a_port_serves_again(fixture: &mut Fixture<'_>) {
    let port = http::free_port();
    let address = format!("127.0.0.1:{port}");
    let page = |text: &str, health: &str| {
        let script = format!("mkdir /www; echo {text} >/www/index.html; trap exit TERM; httpd -f -p 80 -h /www & wait");
        one(&fixture.service, &script, &format!("ports = ['{address}:80']\n{health}"))
    };
    let serves =
        |text: &str| wait::until("the page is served", || http::get(&address, "/"), |answer| answer.ends_with(text));
    fixture.deploy(&page("one", "health = { http = 80, interval = '200ms', retries = 20 }")).ok();
    serves("one\n");
    let id = fixture.it()["instance"]["id"].clone();
    fixture
        .deploy(&page("two", "health = { tcp = 81, interval = '200ms', retries = 2 }"))
        .ends_with(1)
        .says(&["is not healthy"]);
    serves("one\n");
    assert_eq!(fixture.it()["instance"]["id"], id, "another instance serves");
    fixture.deploy(&page("three", "health = { http = 80, interval = '200ms', retries = 20 }")).ok();
    serves("three\n");
    fixture.has_instances(1);
}
