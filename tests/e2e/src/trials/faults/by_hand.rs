//! Somebody uses the engine's own program on what is ours.

use std::time::Duration;

use serde_json::Value;

use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::trial::trials;
use crate::wait;

use super::{pid, seen, settles};

trials!("faults-by-hand":
    what_is_removed_is_made_anew_once Real,
    what_is_stopped_is_started_again Real,
    what_is_killed_is_started_again Real,
    a_stop_by_hand_is_reported_as_one_from_outside Real,
    what_is_frozen_is_reported_and_left_alone Real,
    nothing_comes_back_after_an_explicit_stop Real,
    a_hang_up_is_no_end Real,
);

const ALWAYS: &str = "restart = 'always'\nstop_grace = '1s'\nvolumes = ['data:/data']";
/// Writes down that it was started.
const NOTES: &str = "trap exit TERM; trap true HUP; echo start >>/data/starts; while :; do sleep 0.1; done";

/// Deploys the service; the id of its instance.
fn deployed(fixture: &Fixture<'_>) -> String {
    fixture.deploy(&one(&fixture.service, NOTES, ALWAYS)).ok();
    settles(fixture, "deployed")["instance"]["id"].as_str().unwrap().to_owned()
}

/// How often it was started.
fn starts(fixture: &Fixture<'_>) -> usize {
    fixture.hythe(&["exec", &fixture.service, "cat", "/data/starts"]).ok().out.lines().count()
}

fn runs_again(fixture: &Fixture<'_>) -> Value {
    let again = |it: &Value| it["state"] == "running" && it["restarts"].as_u64() > Some(0);
    wait::until("it runs again", || fixture.it(), again);
    settles(fixture, "it runs again, once")
}

fn what_is_removed_is_made_anew_once(fixture: &mut Fixture<'_>) {
    let id = deployed(fixture);
    fixture.engine().run(&["rm", "-f", &id]);
    let is_new = |it: &Value| it["state"] == "running" && it["instance"]["id"].as_str().is_some_and(|new| new != id);
    wait::until("another instance runs", || fixture.it(), is_new);
    settles(fixture, "one new instance");
    std::thread::sleep(Duration::from_secs(2));
    settles(fixture, "still one new instance");
    assert_eq!(starts(fixture), 2, "started another time than once anew");
}

fn what_is_stopped_is_started_again(fixture: &mut Fixture<'_>) {
    let id = deployed(fixture);
    fixture.engine().run(&["stop", "-t", "5", &id]);
    let it = runs_again(fixture);
    assert_eq!((&it["instance"]["id"], &it["restarts"]), (&id.as_str().into(), &1.into()), "{it:#}");
    assert_eq!(starts(fixture), 2);
}

fn what_is_killed_is_started_again(fixture: &mut Fixture<'_>) {
    let id = deployed(fixture);
    fixture.engine().run(&["kill", &id]);
    let it = runs_again(fixture);
    assert_eq!((&it["instance"]["id"], &it["exit"]["signal"]), (&id.as_str().into(), &"SIGKILL".into()), "{it:#}");
    assert_eq!(starts(fixture), 2);
}

fn a_stop_by_hand_is_reported_as_one_from_outside(fixture: &mut Fixture<'_>) {
    // It does not hear the first signal: of a stop that ends with 0 podman tells nothing but the end.
    fixture.deploy(&one(&fixture.service, "trap '' TERM; while :; do sleep 1; done", "restart = 'always'")).ok();
    let id = fixture.it()["instance"]["id"].as_str().unwrap().to_owned();
    let before = super::newest(fixture);
    fixture.engine().run(&["stop", "-t", "1", &id]);
    runs_again(fixture);
    let told = super::events_after(fixture, before);
    let is_told = |event: &Value| event["message"].as_str().is_some_and(|message| message.contains("outside"));
    assert!(told.iter().any(is_told), "no event says that it was stopped from outside: {told:#?}");
}

fn what_is_frozen_is_reported_and_left_alone(fixture: &mut Fixture<'_>) {
    let id = deployed(fixture);
    let process = pid(fixture, &fixture.service);
    fixture.engine().run(&["pause", &id]);
    fixture.await_state("paused");
    let frozen = |it: &Value| it["state"] == "paused" && it["restarts"] == 0;
    wait::stays("paused", Duration::from_secs(2), || fixture.it(), frozen);
    let found = fixture.differences();
    assert!(found.iter().any(|difference| difference["field"] == "state"), "no difference is told: {found:#?}");
    fixture.engine().run(&["unpause", &id]);
    settles(fixture, "running again");
    assert_eq!((pid(fixture, &fixture.service), starts(fixture)), (process, 1), "it was started anew");
}

fn nothing_comes_back_after_an_explicit_stop(fixture: &mut Fixture<'_>) {
    let id = deployed(fixture);
    fixture.hythe(&["stop", &fixture.service]).ok();
    settles(fixture, "stopped");
    fixture.engine().run(&["rm", "-f", &id]);
    let stopped = |it: &Value| it["state"] == "stopped" && it["desired"] == "stopped";
    wait::stays("stopped", Duration::from_secs(3), || fixture.it(), stopped);
    fixture.has_instances(0);
    fixture.agent.crash(Duration::ZERO);
    wait::stays("stopped after a crash of the agent", Duration::from_secs(2), || fixture.it(), stopped);
    fixture.has_instances(0);
    fixture.hythe(&["start", &fixture.service]).ok();
    settles(fixture, "started when asked");
    assert_eq!(starts(fixture), 2);
}

fn a_hang_up_is_no_end(fixture: &mut Fixture<'_>) {
    let id = deployed(fixture);
    let process = pid(fixture, &fixture.service);
    fixture.engine().run(&["kill", "--signal", "HUP", &id]);
    let calm = |seen: &super::Seen| super::is_one(seen) && seen.0["restarts"] == 0;
    wait::stays("running", Duration::from_secs(2), || seen(fixture), calm);
    assert_eq!((pid(fixture, &fixture.service), starts(fixture)), (process, 1));
    fixture.deploy(&one(&fixture.service, &stays("up"), ALWAYS)).ok();
    settles(fixture, "replaced as ever");
}
