//! The engine acts, and its answer does not arrive: once, which a second try hides, and so often that the brain must cope.

use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::trial::trials;
use crate::wait;

use super::settles;

trials!("faults-lost-reply":
    of_run Every,
    of_start Every,
    of_stop Every,
    of_remove Every,
);

const FAULTS: &str = "HYTHE_FAULTS";
/// More than one call is tried.
const OFTEN: u32 = 5;
const KEYS: &str = "stop_grace = '1s'\nvolumes = ['data:/data']";
/// Done, failed, or the runtime did not answer: the command may say so, the agent goes on.
const HONEST: [Option<i32>; 3] = [Some(0), Some(1), Some(5)];

/// Starts the agent so that the first answers to an operation are lost.
fn losing(fixture: &mut Fixture<'_>, operation: &str, times: u32) {
    let rules: Vec<String> = (1..=times).map(|nth| format!("{operation} {nth} lose")).collect();
    fixture.agent.set(FAULTS, rules.join("; "));
    fixture.agent.restart();
    fixture.agent.unset_all();
}

/// A command that may fail where it is lost often, and must not where it is lost once.
#[track_caller]
fn honest(fixture: &Fixture<'_>, words: &[&str], times: u32) {
    let ran = fixture.hythe(words);
    let good = if times == 1 { ran.code == Some(0) } else { HONEST.contains(&ran.code) };
    assert!(good, "answer lost {times} times: {ran:?}");
}

fn text(fixture: &Fixture<'_>, version: u32) -> String {
    one(&fixture.service, &stays("up"), &format!("{KEYS}\nenv = {{ VERSION = '{version}' }}"))
}

fn of_run(fixture: &mut Fixture<'_>) {
    for times in [1, OFTEN] {
        losing(fixture, "run", times);
        let file = fixture.file(&text(fixture, times));
        honest(fixture, &["deploy", &file], times);
        settles(fixture, &format!("one instance after {times} lost answers"));
    }
}

fn of_start(fixture: &mut Fixture<'_>) {
    for times in [1, OFTEN] {
        losing(fixture, "start", times);
        fixture.deploy(&text(fixture, times)).ok();
        let id = fixture.it()["instance"]["id"].clone();
        fixture.hythe(&["stop", &fixture.service]).ok();
        honest(fixture, &["start", &fixture.service], times);
        let it = settles(fixture, &format!("started after {times} lost answers"));
        assert_eq!((&it["desired"], &it["instance"]["id"]), (&"running".into(), &id), "{it:#}");
    }
}

fn of_stop(fixture: &mut Fixture<'_>) {
    for times in [1, OFTEN] {
        losing(fixture, "stop", times);
        // The same text each time: a replacement would use the lost answers up.
        fixture.deploy(&text(fixture, 1)).ok();
        settles(fixture, "deployed");
        honest(fixture, &["stop", &fixture.service], times);
        let it = settles(fixture, &format!("stopped after {times} lost answers"));
        assert_eq!(it["desired"], "stopped", "{it:#}");
        fixture.hythe(&["start", &fixture.service]).ok();
    }
}

fn of_remove(fixture: &mut Fixture<'_>) {
    for times in [1, OFTEN] {
        losing(fixture, "remove", times);
        fixture.deploy(&text(fixture, times)).ok();
        honest(fixture, &["undeploy", "--volumes", &fixture.service], times);
        let services = || fixture.hythe(&["services", "--json"]).ok().json();
        wait::until("the service is gone", services, |listed| listed.as_array().is_some_and(Vec::is_empty));
        let (engine, label) = (fixture.engine(), fixture.agent.owner_label());
        let left = [engine.instances(&label), engine.networks(&label), engine.volumes(&label)].concat();
        assert!(left.is_empty(), "left after {times} lost answers: {left:?}");
    }
}
