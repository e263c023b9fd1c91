//! The engine acts, and its answer does not arrive: once, which a second try hides, and so often that the brain must cope.

use crate::files::{one, stays};
use crate::scene::Scene;
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
fn losing(scene: &mut Scene<'_>, operation: &str, times: u32) {
    let rules: Vec<String> = (1..=times).map(|nth| format!("{operation} {nth} lose")).collect();
    scene.agent.set(FAULTS, rules.join("; "));
    scene.agent.restart();
    scene.agent.unset_all();
}

/// A command that may fail where it is lost often, and must not where it is lost once.
#[track_caller]
fn honest(scene: &Scene<'_>, words: &[&str], times: u32) {
    let ran = scene.hythe(words);
    let good = if times == 1 { ran.code == Some(0) } else { HONEST.contains(&ran.code) };
    assert!(good, "answer lost {times} times: {ran:?}");
}

fn text(scene: &Scene<'_>, version: u32) -> String {
    one(&scene.service, &stays("up"), &format!("{KEYS}\nenv = {{ VERSION = '{version}' }}"))
}

fn of_run(scene: &mut Scene<'_>) {
    for times in [1, OFTEN] {
        losing(scene, "run", times);
        let file = scene.file(&text(scene, times));
        honest(scene, &["deploy", &file], times);
        settles(scene, &format!("one instance after {times} lost answers"));
    }
}

fn of_start(scene: &mut Scene<'_>) {
    for times in [1, OFTEN] {
        losing(scene, "start", times);
        scene.deploy(&text(scene, times)).ok();
        let id = scene.it()["instance"]["id"].clone();
        scene.hythe(&["stop", &scene.service]).ok();
        honest(scene, &["start", &scene.service], times);
        let it = settles(scene, &format!("started after {times} lost answers"));
        assert_eq!((&it["desired"], &it["instance"]["id"]), (&"running".into(), &id), "{it:#}");
    }
}

fn of_stop(scene: &mut Scene<'_>) {
    for times in [1, OFTEN] {
        losing(scene, "stop", times);
        // The same text each time: a replacement would use the lost answers up.
        scene.deploy(&text(scene, 1)).ok();
        settles(scene, "deployed");
        honest(scene, &["stop", &scene.service], times);
        let it = settles(scene, &format!("stopped after {times} lost answers"));
        assert_eq!(it["desired"], "stopped", "{it:#}");
        scene.hythe(&["start", &scene.service]).ok();
    }
}

fn of_remove(scene: &mut Scene<'_>) {
    for times in [1, OFTEN] {
        losing(scene, "remove", times);
        scene.deploy(&text(scene, times)).ok();
        honest(scene, &["undeploy", "--volumes", &scene.service], times);
        let services = || scene.hythe(&["services", "--json"]).ok().json();
        wait::until("the service is gone", services, |listed| listed.as_array().is_some_and(Vec::is_empty));
        let (engine, label) = (scene.engine(), scene.agent.owner_label());
        let left = [engine.instances(&label), engine.networks(&label), engine.volumes(&label)].concat();
        assert!(left.is_empty(), "left after {times} lost answers: {left:?}");
    }
}
