//! The disk with the agent's state is full: what runs goes on and can be looked at, nothing new is begun, and it ends by itself.

use std::time::Duration;

use serde_json::Value;

use crate::disk::Disk;
use crate::files::{one, stays};
use crate::scene::{Scene, unique_name};
use crate::trial::trials;
use crate::wait;

trials!("full_disk":
    a_full_disk_refuses_what_is_new_and_recovers_by_itself Disk,
    a_nearly_full_disk_is_kept_for_what_runs Disk,
    an_agent_starts_on_a_full_disk_and_adopts Disk,
);

const MEBIBYTES: u32 = 24;

/// Gives the agent's state directory a disk of its own.
fn on_a_small_disk(scene: &mut Scene<'_>) -> Disk {
    scene.agent.stop();
    let disk = Disk::below(&scene.agent.path("state"), MEBIBYTES);
    scene.agent.start_again();
    disk
}

fn health(scene: &Scene<'_>) -> Value {
    crate::http::get_unix(&scene.agent.socket(), "/healthz")
}

fn a_full_disk_refuses_what_is_new_and_recovers_by_itself(scene: &mut Scene<'_>) {
    let disk = on_a_small_disk(scene);
    let pid = scene.agent.version()["pid"].clone();
    let text = one(
        &scene.service,
        "trap exit TERM; echo up; while [ ! -e /tmp/die ]; do sleep 0.1; done; rm /tmp/die; exit 7",
        "restart = 'always'",
    );
    scene.deploy(&text).ok();
    assert_eq!(health(scene), serde_json::json!({ "status": "ok", "reasons": [] }));

    disk.fill();
    let degraded = health(scene);
    assert_eq!(
        (&degraded["status"], &degraded["reasons"][0]["subject"]),
        (&"degraded".into(), &"store".into()),
        "{degraded}"
    );
    for command in ["version", "runtimes"] {
        scene.hythe(&[command]).ok().says(&["warning: store"]);
    }
    for command in [&["ps", "-a"][..], &["status"], &["events"], &["services"], &["logs", &scene.service]] {
        scene.hythe(command).ok();
    }
    let other = unique_name();
    let refused = scene.deploy(&one(&other, &stays("up"), "")).ends_with(5);
    refused.says(&["disk with the store", "hint: free space", "state directory"]);
    scene.hythe(&["stop", &scene.service]).ends_with(5).says(&["hint: free space"]);
    let services = scene.hythe(&["services", "--json"]).ok().json();
    assert_eq!(services.as_array().map(Vec::len), Some(1), "the refused service is known: {services}");
    if scene.subject.engine_is_real() {
        assert_eq!(
            scene.engine().instances(&format!("hythe.service={other}")).len(),
            0,
            "the refused service was begun"
        );
    }
    // What cannot be written down is not begun either, and not given up.
    // It may end before this does.
    scene.hythe(&["exec", &scene.service, "touch", "/tmp/die"]);
    wait::until("it ended", || scene.it(), |it| it["state"] != "running");
    let cannot = |health: &Value| {
        health["reasons"][0]["message"].as_str().unwrap_or_default().starts_with("cannot be written since")
    };
    wait::until("a write has failed", || health(scene), cannot);

    disk.free();
    wait::until("the agent is well again", || health(scene), |health| health["status"] == "ok");
    scene.hythe(&["deploy", "--wait", &scene.file(&one(&other, &stays("up"), ""))]).ok();
    assert_eq!(scene.agent.version()["pid"], pid, "the agent was restarted");
    let again = wait::until("it is started again", || scene.it(), |it| it["state"] == "running");
    assert_eq!(again["desired"], "running", "a refused stop was done all the same");
    wait::stays("it runs", Duration::from_secs(1), || scene.it(), |it| it["state"] == "running");
    scene.has_instances(1);
    end(scene, disk, &[&other]);
}

fn a_nearly_full_disk_is_kept_for_what_runs(scene: &mut Scene<'_>) {
    let disk = on_a_small_disk(scene);
    let text = one(&scene.service, "trap exit TERM; echo up; sleep 2; exit 7", "restart = 'always'");
    scene.deploy(&text).ok();
    disk.fill_but(2);
    let degraded = health(scene);
    assert!(
        degraded["reasons"][0]["message"].as_str().unwrap_or_default().contains("kept for what runs"),
        "{degraded}"
    );
    scene.hythe(&["restart", &scene.service]).ends_with(5).says(&["KiB are free", "hint: free space"]);
    let before = scene.events().len();
    wait::until("what runs is restarted and written down", || scene.events().len(), |after| *after > before + 3);
    disk.free();
    wait::until("the agent is well again", || health(scene), |health| health["status"] == "ok");
    end(scene, disk, &[]);
}

fn an_agent_starts_on_a_full_disk_and_adopts(scene: &mut Scene<'_>) {
    let disk = on_a_small_disk(scene);
    let text = one(&scene.service, &stays("up"), "");
    scene.deploy(&text).ok();
    let id = scene.it()["instance"]["id"].clone();
    disk.fill();
    scene.agent.crash(Duration::from_millis(200));
    assert_eq!(health(scene)["status"], "degraded");
    if scene.subject.engine_is_real() {
        let it = scene.await_state("running");
        assert_eq!(it["instance"]["id"], id, "{it:#}");
    }
    scene.hythe(&["deploy", "--force", &scene.file(&text)]).ends_with(5).says(&["hint: free space"]);
    disk.free();
    wait::until("the agent is well again", || health(scene), |health| health["status"] == "ok");
    scene.await_state("running");
    scene.deploy(&one(&scene.service, &stays("up"), "env = { A = 'b' }")).ok();
    scene.has_instances(1);
    end(scene, disk, &[]);
}

/// Undeploys while the disk is there, so that whoever cleans up finds an agent without a past.
fn end(scene: &mut Scene<'_>, disk: Disk, others: &[&str]) {
    for service in others.iter().copied().chain([scene.service.clone().as_str()]) {
        scene.hythe(&["undeploy", service]).ok();
    }
    scene.agent.stop();
    drop(disk);
}
