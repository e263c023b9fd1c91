//! The disk with the agent's state is full: what runs goes on and can be looked at, nothing new is begun, and it ends by itself.

use std::time::Duration;

use serde_json::Value;

use crate::disk::Disk;
use crate::files::{one, stays};
use crate::fixture::{Fixture, unique_name};
use crate::trial::trials;
use crate::wait;

trials!("full_disk":
    a_full_disk_refuses_what_is_new_and_recovers_by_itself Disk,
    a_nearly_full_disk_is_kept_for_what_runs Disk,
    an_agent_starts_on_a_full_disk_and_adopts Disk,
);

const MEBIBYTES: u32 = 24;

/// Gives the agent's state directory a disk of its own.
fn on_a_small_disk(fixture: &mut Fixture<'_>) -> Disk {
    fixture.agent.stop();
    let disk = Disk::below(&fixture.agent.path("state"), MEBIBYTES);
    fixture.agent.start_again();
    disk
}

fn health(fixture: &Fixture<'_>) -> Value {
    crate::http::get_unix(&fixture.agent.socket(), "/healthz")
}

fn a_full_disk_refuses_what_is_new_and_recovers_by_itself(fixture: &mut Fixture<'_>) {
    let disk = on_a_small_disk(fixture);
    let pid = fixture.agent.version()["pid"].clone();
    let text = one(
        &fixture.service,
        "trap exit TERM; echo up; while [ ! -e /tmp/die ]; do sleep 0.1; done; rm /tmp/die; exit 7",
        "restart = 'always'",
    );
    fixture.deploy(&text).ok();
    assert_eq!(health(fixture), serde_json::json!({ "status": "ok", "reasons": [] }));

    disk.fill();
    let degraded = health(fixture);
    assert_eq!(
        (&degraded["status"], &degraded["reasons"][0]["subject"]),
        (&"degraded".into(), &"store".into()),
        "{degraded}"
    );
    for command in ["version", "runtimes"] {
        fixture.hythe(&[command]).ok().says(&["warning: store"]);
    }
    for command in [&["ps", "-a"][..], &["status"], &["events"], &["services"], &["logs", &fixture.service]] {
        fixture.hythe(command).ok();
    }
    let other = unique_name();
    let refused = fixture.deploy(&one(&other, &stays("up"), "")).ends_with(5);
    refused.says(&["disk with the store", "hint: free space", "state directory"]);
    fixture.hythe(&["stop", &fixture.service]).ends_with(5).says(&["hint: free space"]);
    let services = fixture.hythe(&["services", "--json"]).ok().json();
    assert_eq!(services.as_array().map(Vec::len), Some(1), "the refused service is known: {services}");
    if fixture.subject.engine_is_real() {
        assert_eq!(
            fixture.engine().instances(&format!("hythe.service={other}")).len(),
            0,
            "the refused service was begun"
        );
    }
    // What cannot be written down is not begun either, and not given up.
    // It may end before this does.
    fixture.hythe(&["exec", &fixture.service, "touch", "/tmp/die"]);
    wait::until("it ended", || fixture.it(), |it| it["state"] != "running");
    let cannot = |health: &Value| {
        health["reasons"][0]["message"].as_str().unwrap_or_default().starts_with("cannot be written since")
    };
    wait::until("a write has failed", || health(fixture), cannot);

    disk.free();
    wait::until("the agent is well again", || health(fixture), |health| health["status"] == "ok");
    fixture.hythe(&["deploy", "--wait", &fixture.file(&one(&other, &stays("up"), ""))]).ok();
    assert_eq!(fixture.agent.version()["pid"], pid, "the agent was restarted");
    let again = wait::until("it is started again", || fixture.it(), |it| it["state"] == "running");
    assert_eq!(again["desired"], "running", "a refused stop was done all the same");
    wait::stays("it runs", Duration::from_secs(1), || fixture.it(), |it| it["state"] == "running");
    fixture.has_instances(1);
    end(fixture, disk, &[&other]);
}

fn a_nearly_full_disk_is_kept_for_what_runs(fixture: &mut Fixture<'_>) {
    let disk = on_a_small_disk(fixture);
    let text = one(&fixture.service, "trap exit TERM; echo up; sleep 2; exit 7", "restart = 'always'");
    fixture.deploy(&text).ok();
    disk.fill_but(2);
    let degraded = health(fixture);
    assert!(
        degraded["reasons"][0]["message"].as_str().unwrap_or_default().contains("kept for what runs"),
        "{degraded}"
    );
    fixture.hythe(&["restart", &fixture.service]).ends_with(5).says(&["KiB are free", "hint: free space"]);
    let before = fixture.events().len();
    wait::until("what runs is restarted and written down", || fixture.events().len(), |after| *after > before + 3);
    disk.free();
    wait::until("the agent is well again", || health(fixture), |health| health["status"] == "ok");
    end(fixture, disk, &[]);
}

fn an_agent_starts_on_a_full_disk_and_adopts(fixture: &mut Fixture<'_>) {
    let disk = on_a_small_disk(fixture);
    let text = one(&fixture.service, &stays("up"), "");
    fixture.deploy(&text).ok();
    let id = fixture.it()["instance"]["id"].clone();
    disk.fill();
    fixture.agent.crash(Duration::from_millis(200));
    assert_eq!(health(fixture)["status"], "degraded");
    if fixture.subject.engine_is_real() {
        let it = fixture.await_state("running");
        assert_eq!(it["instance"]["id"], id, "{it:#}");
    }
    fixture.hythe(&["deploy", "--force", &fixture.file(&text)]).ends_with(5).says(&["hint: free space"]);
    disk.free();
    wait::until("the agent is well again", || health(fixture), |health| health["status"] == "ok");
    fixture.await_state("running");
    fixture.deploy(&one(&fixture.service, &stays("up"), "env = { A = 'b' }")).ok();
    fixture.has_instances(1);
    end(fixture, disk, &[]);
}

/// Undeploys while the disk is there, so that whoever cleans up finds an agent without a past.
fn end(fixture: &mut Fixture<'_>, disk: Disk, others: &[&str]) {
    for service in others.iter().copied().chain([fixture.service.clone().as_str()]) {
        fixture.hythe(&["undeploy", service]).ok();
    }
    fixture.agent.stop();
    drop(disk);
}
