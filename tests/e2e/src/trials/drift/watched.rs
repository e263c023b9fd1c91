//! The agent looks by itself, and tells when what differs has changed.

use serde_json::Value;

use crate::files::{one, stays};
use crate::scene::Scene;
use crate::wait;

pub(super) fn changes_are_told_as_events(scene: &mut Scene<'_>) {
    scene.agent.reconfigure(&format!("drift_interval = '2s'\n{}", scene.subject.config()));
    scene.deploy(&one(&scene.service, &stays("up"), "memory = '64m'")).ok();
    let it = scene.it();
    let (id, name) = (it["instance"]["id"].as_str().unwrap(), it["instance"]["name"].as_str().unwrap());
    wait::stays("nothing is told", std::time::Duration::from_secs(4), || told(scene), Vec::is_empty);
    scene.engine().run(&["rename", id, &format!("{name}-by-hand")]);
    tells(scene, 1, &[("name", "renamed")]);
    scene.engine().run(&["update", "--memory", "96m", "--memory-swap", "96m", id]);
    tells(scene, 2, &[("name", "renamed"), ("memory", "changed by hand")]);
    scene.agent.stop();
    scene.agent.start_again();
    scene.await_state("running");
    wait::stays(
        "what was told is not told again",
        std::time::Duration::from_secs(4),
        || told(scene),
        |told| told.len() == 2,
    );
    scene.engine().run(&["update", "--memory", "64m", "--memory-swap", "64m", id]);
    tells(scene, 3, &[("name", "renamed")]);
    scene.engine().run(&["rename", id, name]);
    tells(scene, 4, &[]);
    assert_eq!(told(scene)[3]["details"]["cleared"], true);
}

fn told(scene: &Scene<'_>) -> Vec<Value> {
    scene.events().into_iter().filter(|event| event["kind"] == "drift").collect()
}

/// The event of that number tells exactly this.
#[track_caller]
fn tells(scene: &Scene<'_>, number: usize, expected: &[super::Expected<'_>]) {
    let told = wait::until("the change is told", || told(scene), |told| told.len() >= number);
    let differences = told[number - 1]["details"]["differences"].as_array().cloned().unwrap_or_default();
    assert!(told.len() == number && super::is(&differences, expected), "{expected:?}: {told:#?}");
}
