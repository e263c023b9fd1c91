//! What depends on another is stopped before it and started after it; a deploy ends when all is well, whoever deployed it first.

use serde_json::Value;

use crate::files::{one, several, stays};
use crate::fixture::Fixture;
use crate::trial::trials;
use crate::wait;

trials!("order":
    stop_ends_dependents_first Every,
    restart_ends_dependents_first_and_starts_them_last Every,
    restart_of_a_service_does_no_job_again Every,
    start_without_its_dependency_gives_one_answer Every,
    an_unchanged_deploy_waits_for_the_outcome Every,
    an_unchanged_deploy_of_what_is_not_well_fails Every,
    a_superseded_deploy_says_by_what Every,
    shutdown_ends_dependents_first_and_resume_starts_what_ran Every,
);

/// A database that takes a while to end and to be healthy, and an app after it.
fn pair(fixture: &Fixture<'_>) -> String {
    let db = "rm -f /tmp/ok; sleep 1; : >/tmp/ok; trap 'exit 0' TERM; while :; do sleep 0.1; done";
    let app = "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done";
    let health = "health = { exec = 'test -e /tmp/ok', interval = '200ms', retries = 50 }";
    several(&fixture.service, &[("db", db, health), ("app", app, "depends_on = { db = 'healthy' }")])
}

/// When the newest event of this kind happened.
fn last(events: &[Value], workload: &str, kind: &str) -> String {
    let of = events.iter().rev().find(|event| event["workload"] == workload && event["kind"] == kind);
    of.unwrap_or_else(|| panic!("no `{kind}` of `{workload}`: {events:#?}"))["time"].as_str().unwrap().to_owned()
}

fn names(fixture: &Fixture<'_>) -> (String, String) {
    (format!("{}-db", fixture.service), format!("{}-app", fixture.service))
}

fn stop_ends_dependents_first(fixture: &mut Fixture<'_>) {
    fixture.deploy(&pair(fixture)).ok();
    fixture.hythe(&["stop", &fixture.service]).ok();
    let ((db, app), events) = (names(fixture), fixture.events());
    assert!(last(&events, &app, "stopped") < last(&events, &db, "stopped"), "{events:#?}");
}

fn restart_ends_dependents_first_and_starts_them_last(fixture: &mut Fixture<'_>) {
    fixture.deploy(&pair(fixture)).ok();
    let before = fixture.events().len();
    fixture.hythe(&["restart", &fixture.service]).ok();
    let (db, app) = names(fixture);
    let both = |events: &Vec<Value>| {
        let started = |name: &str| events.iter().any(|event| event["workload"] == name && event["kind"] == "started");
        started(&db) && started(&app)
    };
    // An engine may say late that the first start was one.
    let since_request = || {
        let mut events = fixture.events().split_off(before);
        let requested = events.iter().find(|event| event["kind"] == "requested").map(|event| event["time"].clone());
        events.retain(|event| requested.as_ref().is_some_and(|at| event["time"].as_str() >= at.as_str()));
        events
    };
    let events = wait::until("both were started", since_request, both);
    let first = |workload: &str, kind: &str| {
        let of = events.iter().find(|event| event["workload"] == workload && event["kind"] == kind);
        of.map(|event| event["time"].as_str().unwrap().to_owned())
    };
    assert!(last(&events, &db, "ready") < last(&events, &app, "started"), "{events:#?}");
    if let (Some(app), Some(db)) = (first(&app, "exited"), first(&db, "exited")) {
        assert!(app < db, "{events:#?}");
    }
}

fn restart_of_a_service_does_no_job_again(fixture: &mut Fixture<'_>) {
    let text = several(
        &fixture.service,
        &[
            ("job", "echo done", "restart = 'no'"),
            ("app", &stays("up"), "depends_on = { job = 'completed' }\nstop_grace = '1s'"),
        ],
    );
    fixture.deploy(&text).ok();
    let job = format!("{}-job", fixture.service);
    fixture.hythe(&["restart", &fixture.service]).ok();
    assert_eq!(fixture.hythe(&["logs", &job]).ok().out, "done\n");
    fixture.hythe(&["restart", &format!("{}/job", fixture.service)]).ok();
    let twice = |text: &String| text == "done\ndone\n";
    wait::until("the job was done again, as asked", || fixture.hythe(&["logs", &job]).out, twice);
}

fn start_without_its_dependency_gives_one_answer(fixture: &mut Fixture<'_>) {
    fixture.deploy(&pair(fixture)).ok();
    fixture.hythe(&["stop", &fixture.service]).ok();
    let (_, app) = names(fixture);
    fixture.hythe(&["start", &format!("{}/app", fixture.service)]).ends_with(1).says(&["db", "is stopped"]);
    let down = |it: &Value| it["state"] == "failed";
    wait::stays("it is not started all the same", std::time::Duration::from_secs(2), || fixture.workload(&app), down);
    fixture.hythe(&["start", &format!("{}/db", fixture.service)]).ok();
    wait::until("it follows its dependency", || fixture.workload(&app), |it| it["state"] == "running");
}

fn an_unchanged_deploy_waits_for_the_outcome(fixture: &mut Fixture<'_>) {
    let script = "sleep 4; : >/tmp/ok; trap exit TERM; sleep 3600 & wait";
    let text =
        one(&fixture.service, script, "health = { exec = 'test -e /tmp/ok', interval = '200ms', retries = 100 }");
    let path = fixture.file(&text);
    fixture.hythe(&["deploy", "--detach", &path]).ok();
    fixture.hythe(&["deploy", "--no-wait", &path]).ok();
    assert_ne!(fixture.it()["health"], "healthy");
    fixture.hythe(&["deploy", &path]).ok();
    assert_eq!(fixture.it()["health"], "healthy");
    assert_eq!(fixture.it()["generation"], 1);
    assert!(fixture.hythe(&["sync", &path]).ok().out.contains("unchanged"));
}

fn an_unchanged_deploy_of_what_is_not_well_fails(fixture: &mut Fixture<'_>) {
    let script = ": >/tmp/ok; trap exit TERM; sleep 3600 & wait";
    let text = one(&fixture.service, script, "health = { exec = 'test -e /tmp/ok', interval = '200ms', retries = 2 }");
    fixture.deploy(&text).ok();
    fixture.hythe(&["exec", &fixture.service, "rm", "/tmp/ok"]).ok();
    wait::until("it is not healthy", || fixture.it(), |it| it["health"] == "unhealthy");
    let path = fixture.file(&text);
    fixture.hythe(&["deploy", &path]).ends_with(1);
    fixture.hythe(&["sync", &path]).ends_with(1);
    fixture.hythe(&["exec", &fixture.service, "touch", "/tmp/ok"]).ok();
    wait::until("it is healthy", || fixture.it(), |it| it["health"] == "healthy");
    fixture.hythe(&["sync", &path]).ok();
}

fn a_superseded_deploy_says_by_what(fixture: &mut Fixture<'_>) {
    let never = "health = { exec = 'false', interval = '1s', retries = 100 }\nstop_grace = '1s'";
    let path = fixture.agent.path("first.toml");
    std::fs::write(&path, one(&fixture.service, &stays("first"), never)).unwrap();
    let first = fixture.agent.spawn(&["deploy", &path.display().to_string()]);
    wait::until("it runs", || fixture.it(), |it| it["state"] == "running");
    fixture.deploy(&one(&fixture.service, &stays("second"), "stop_grace = '1s'")).ok();
    first.end().ends_with(4).says(&["superseded by deploy `"]);
}

fn shutdown_ends_dependents_first_and_resume_starts_what_ran(fixture: &mut Fixture<'_>) {
    let rest = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
    let text = several(
        &fixture.service,
        &[
            (
                "db",
                ": >/tmp/ok; trap 'exit 0' TERM; while :; do sleep 0.1; done",
                "health = { exec = 'test -e /tmp/ok', interval = '200ms', retries = 50 }",
            ),
            ("app", "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done", "depends_on = { db = 'healthy' }"),
            ("idle", rest, ""),
        ],
    );
    fixture.deploy(&text).ok();
    fixture.hythe(&["stop", &format!("{}/idle", fixture.service)]).ok();
    fixture.hythe(&["shutdown"]).ok().says(&["stopped 2 workloads"]);
    let ((db, app), events) = (names(fixture), fixture.events());
    assert!(last(&events, &app, "stopped") < last(&events, &db, "stopped"), "{events:#?}");
    // As a host that has booted.
    fixture.agent.kill();
    fixture.agent.start_again();
    fixture.hythe(&["shutdown", "--resume"]).ok();
    for name in [&db, &app] {
        wait::until("it runs again", || fixture.workload(name), |it| it["state"] == "running");
    }
    let events = fixture.events();
    assert!(last(&events, &db, "ready") < last(&events, &app, "started"), "{events:#?}");
    assert_eq!(fixture.workload(&format!("{}-idle", fixture.service))["state"], "stopped");
    // What was resumed once stays as users want it.
    fixture.hythe(&["stop", &fixture.service]).ok();
    fixture.hythe(&["shutdown", "--resume"]).ok();
    assert_eq!(fixture.workload(&db)["desired"], "stopped");
}
