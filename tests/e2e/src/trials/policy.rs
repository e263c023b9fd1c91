//! What follows the end of a process.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::files::{one, stays};
use crate::scene::Scene;
use crate::trial::trials;
use crate::wait;

trials!("policy":
    on_failure_gives_up_after_its_tries Every,
    always_survives_a_kill_from_outside Real,
    an_explicit_stop_beats_always Every,
);

fn on_failure_gives_up_after_its_tries(scene: &mut Scene<'_>) {
    scene.deploy(&one(&scene.service, "echo try; exit 9", "restart = 'on-failure:2'"));
    let it = scene.await_state("failed");
    assert_eq!((&it["restarts"], &it["exit"]["code"]), (&2.into(), &9.into()), "{it:#}");
    assert_eq!(scene.hythe(&["logs", &scene.service]).ok().out, "try\ntry\ntry\n");
    let restarting = scene.events().iter().filter(|event| event["kind"] == "restarting").count();
    assert_eq!(restarting, 2);
    scene.has_instances(1);
}

fn always_survives_a_kill_from_outside(scene: &mut Scene<'_>) {
    scene.deploy(&one(&scene.service, &stays("up"), "restart = 'always'")).ok();
    let before = wait::until("its pid is known", || scene.it(), |it| it["instance"]["pid"].is_u64());
    let pid = i32::try_from(before["instance"]["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let after = wait::until("restarted", || scene.it(), |it| it["restarts"] == 1 && it["state"] == "running");
    assert_eq!(
        (&after["instance"]["id"], &after["exit"]["signal"]),
        (&before["instance"]["id"], &"SIGKILL".into()),
        "{after:#}"
    );
    let status = scene.hythe(&["status", &scene.service]).ok().out;
    assert!(status.contains("killed by SIGKILL"), "{status}");
    scene.has_instances(1);
}

fn an_explicit_stop_beats_always(scene: &mut Scene<'_>) {
    scene.deploy(&one(&scene.service, &stays("up"), "restart = 'always'")).ok();
    let id = scene.it()["instance"]["id"].clone();
    scene.hythe(&["stop", &scene.service]).ok();
    wait::stays(
        "stopped",
        Duration::from_secs(3),
        || scene.it(),
        |it| it["state"] == "stopped" && it["desired"] == "stopped",
    );
    let listed = scene.hythe(&["ps", "--json"]).ok().json();
    assert_eq!(listed, serde_json::json!([]), "what is stopped on purpose is only shown with `-a`");
    scene.hythe(&["start", &scene.service]).ok();
    let it = scene.await_state("running");
    assert_eq!(it["instance"]["id"], id, "{it:#}");
    scene.has_instances(1);
}
