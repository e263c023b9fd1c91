//! What follows the end of a process.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::trial::trials;
use crate::wait;

trials!("policy":
    on_failure_gives_up_after_its_tries Every,
    always_survives_a_kill_from_outside Real,
    an_explicit_stop_beats_always Every,
);

fn on_failure_gives_up_after_its_tries(fixture: &mut Fixture<'_>) {
    fixture.deploy(&one(&fixture.service, "echo try; exit 9", "restart = 'on-failure:2'"));
    let it = fixture.await_state("failed");
    assert_eq!((&it["restarts"], &it["exit"]["code"]), (&2.into(), &9.into()), "{it:#}");
    assert_eq!(fixture.hythe(&["logs", &fixture.service]).ok().out, "try\ntry\ntry\n");
    let restarting = fixture.events().iter().filter(|event| event["kind"] == "restarting").count();
    assert_eq!(restarting, 2);
    fixture.has_instances(1);
}

fn always_survives_a_kill_from_outside(fixture: &mut Fixture<'_>) {
    fixture.deploy(&one(&fixture.service, &stays("up"), "restart = 'always'")).ok();
    let before = wait::until("its pid is known", || fixture.it(), |it| it["instance"]["pid"].is_u64());
    let pid = i32::try_from(before["instance"]["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let after = wait::until("restarted", || fixture.it(), |it| it["restarts"] == 1 && it["state"] == "running");
    assert_eq!(
        (&after["instance"]["id"], &after["exit"]["signal"]),
        (&before["instance"]["id"], &"SIGKILL".into()),
        "{after:#}"
    );
    let status = fixture.hythe(&["status", &fixture.service]).ok().out;
    assert!(status.contains("killed by SIGKILL"), "{status}");
    fixture.has_instances(1);
}

fn an_explicit_stop_beats_always(fixture: &mut Fixture<'_>) {
    fixture.deploy(&one(&fixture.service, &stays("up"), "restart = 'always'")).ok();
    let id = fixture.it()["instance"]["id"].clone();
    fixture.hythe(&["stop", &fixture.service]).ok();
    wait::stays(
        "stopped",
        Duration::from_secs(3),
        || fixture.it(),
        |it| it["state"] == "stopped" && it["desired"] == "stopped",
    );
    let listed = fixture.hythe(&["ps", "--json"]).ok().json();
    assert_eq!(listed, serde_json::json!([]), "what is stopped on purpose is only shown with `-a`");
    fixture.hythe(&["start", &fixture.service]).ok();
    let it = fixture.await_state("running");
    assert_eq!(it["instance"]["id"], id, "{it:#}");
    fixture.has_instances(1);
}
