//! A replacement that lacks something: nothing is stopped for it, and what waits for a dependency waits for its new generation.

use std::time::Duration;

use crate::files::{IMAGE, one, several, stays};
use crate::fixture::Fixture;
use crate::http;
use crate::trial::trials;
use crate::wait;

trials!("replacement":
    an_image_that_cannot_be_had_ends_nothing Real,
    what_runs_is_started_again_while_an_image_cannot_be_had Real,
    a_new_job_is_waited_for_before_the_replacement Every,
    a_job_that_fails_ends_nothing_and_is_tried_again Every,
    a_database_that_is_never_healthy_ends_nothing Every,
    a_job_that_fails_is_not_waited_for_by_a_port Real,
);

/// Nobody listens there.
fn nowhere() -> String {
    format!("127.0.0.1:{}/web:2", http::free_port())
}

fn id_of(fixture: &Fixture<'_>, component: &str) -> String {
    let workload = fixture.workload(&format!("{}-{component}", fixture.service));
    workload["instance"]["id"].as_str().unwrap_or_default().to_owned()
}

/// The instance of before runs, and the events say that its replacement failed.
#[track_caller]
fn goes_on(fixture: &Fixture<'_>, name: &str, id: &str) {
    let it = fixture.workload(name);
    assert_eq!((&it["instance"]["id"], &it["state"]), (&id.into(), &"running".into()), "{it:#}");
    assert!(it["message"].as_str().is_some_and(|message| message.contains("rolled back")), "{it:#}");
    let told = fixture.events();
    assert!(told.iter().any(|event| event["workload"] == name && event["kind"] == "failed"), "no `failed`: {told:#?}");
}

fn an_image_that_cannot_be_had_ends_nothing(fixture: &mut Fixture<'_>) {
    let port = http::free_port();
    let address = format!("127.0.0.1:{port}");
    let script = "mkdir /www; echo one >/www/index.html; trap exit TERM; httpd -f -p 80 -h /www & wait";
    let first = one(&fixture.service, script, &format!("ports = ['{address}:80']"));
    fixture.deploy(&first).ok();
    wait::until("the page is served", || http::get(&address, "/"), |answer| answer.ends_with("one\n"));
    let id = fixture.it()["instance"]["id"].as_str().unwrap().to_owned();
    let image = nowhere();
    let registry = image.split('/').next().unwrap().to_owned();
    let ran = fixture.deploy(&first.replace(IMAGE, &image));
    assert!(ran.code != Some(0), "{ran:#?}");
    ran.says(&[&registry]);
    assert!(http::get(&address, "/").ends_with("one\n"), "what ran does not serve any more");
    goes_on(fixture, &fixture.service, &id);
    fixture.has_instances(1);
}

fn what_runs_is_started_again_while_an_image_cannot_be_had(fixture: &mut Fixture<'_>) {
    let first = one(&fixture.service, &stays("up"), "stop_grace = '1s'");
    fixture.deploy(&first).ok();
    let ran = fixture.deploy(&first.replace(IMAGE, &nowhere()));
    assert!(ran.code != Some(0), "{ran:#?}");
    fixture.hythe(&["exec", &fixture.service, "sh", "-c", "kill -9 1; kill -TERM 1"]);
    let restarted = |it: &serde_json::Value| it["state"] == "running" && it["restarts"].as_u64() > Some(0);
    wait::until("what died is started again", || fixture.it(), restarted);
}

/// A job and an app that waits for it.
fn with_job(fixture: &Fixture<'_>, job: &str, app: &str) -> String {
    let app_keys = "stop_grace = '1s'\ndepends_on = { job = 'completed' }";
    several(&fixture.service, &[("job", job, "restart = 'no'"), ("app", &stays(app), app_keys)])
}

fn a_new_job_is_waited_for_before_the_replacement(fixture: &mut Fixture<'_>) {
    fixture.deploy(&with_job(fixture, "echo job one", "app-one")).ok();
    let app = format!("{}-app", fixture.service);
    let id = id_of(fixture, "app");
    let path = fixture.agent.path("second.toml");
    std::fs::write(&path, with_job(fixture, "sleep 3; echo job two", "app-two")).unwrap();
    let deploy = fixture.agent.spawn(&["deploy", &path.display().to_string()]);
    let job = format!("{}-job", fixture.service);
    wait::until(
        "the new job runs",
        || fixture.workload(&job),
        |job| job["instance"]["name"].as_str().is_some_and(|name| name.ends_with("-2-1")) && job["state"] == "running",
    );
    wait::stays(
        "the old app runs while the job does",
        Duration::from_secs(1),
        || id_of(fixture, "app"),
        |now| *now == id,
    );
    deploy.end().ok();
    assert_eq!(fixture.hythe(&["logs", &app]).ok().out, "app-two\n");
    assert_eq!(fixture.workload(&job)["state"], "completed");
    fixture.has_instances(2);
}

fn a_job_that_fails_ends_nothing_and_is_tried_again(fixture: &mut Fixture<'_>) {
    fixture.deploy(&with_job(fixture, "echo job one", "app-one")).ok();
    let (app, id) = (format!("{}-app", fixture.service), id_of(fixture, "app"));
    let second = with_job(fixture, "echo no such column; exit 4", "app-two");
    fixture.deploy(&second).ends_with(1).says(&["exit code 4", "no such column"]);
    goes_on(fixture, &app, &id);
    // Only the job is deployed again, and it does its work now: what waited for it follows by itself.
    let mended = fixture.file(&second.replace("exit 4", "exit 0"));
    fixture.hythe(&["deploy", "--component", "job", &mended]).ok();
    let two = |text: &String| text.ends_with("app-two\n");
    wait::until("the new app runs by itself", || fixture.hythe(&["logs", &app]).out, two);
}

fn a_database_that_is_never_healthy_ends_nothing(fixture: &mut Fixture<'_>) {
    let service = |db: &str, probe: &str, app: &str| {
        let health = format!("stop_grace = '1s'\nhealth = {{ exec = '{probe}', interval = '200ms', retries = 2 }}");
        let app_keys = "stop_grace = '1s'\ndepends_on = { db = 'healthy' }";
        several(&fixture.service, &[("db", &stays(db), &health), ("app", &stays(app), app_keys)])
    };
    fixture.deploy(&service("db-one", "true", "app-one")).ok();
    let (app, id, db) = (format!("{}-app", fixture.service), id_of(fixture, "app"), id_of(fixture, "db"));
    fixture.deploy(&service("db-two", "false", "app-two")).ends_with(1).says(&["is not healthy"]);
    goes_on(fixture, &app, &id);
    wait::until("the database is back", || id_of(fixture, "db"), |now| *now == db);
    fixture.deploy(&service("db-three", "true", "app-three")).ok();
    assert_eq!(fixture.hythe(&["logs", &app]).ok().out, "app-three\n");
}

fn a_job_that_fails_is_not_waited_for_by_a_port(fixture: &mut Fixture<'_>) {
    let port = http::free_port();
    let service = |job: &str, text: &str| {
        let script = format!("mkdir /www; echo {text} >/www/index.html; trap exit TERM; httpd -f -p 80 -h /www & wait");
        let keys = format!("ports = ['127.0.0.1:{port}:80']\ndepends_on = {{ job = 'completed' }}");
        several(&fixture.service, &[("job", job, "restart = 'no'"), ("app", &script, &keys)])
    };
    let address = format!("127.0.0.1:{port}");
    fixture.deploy(&service("exit 0", "one")).ok();
    wait::until("the page is served", || http::get(&address, "/"), |answer| answer.ends_with("one\n"));
    let id = id_of(fixture, "app");
    fixture.deploy(&service("sleep 1; exit 4", "two")).ends_with(1);
    assert!(http::get(&address, "/").ends_with("one\n"), "what ran does not serve any more");
    goes_on(fixture, &format!("{}-app", fixture.service), &id);
}
