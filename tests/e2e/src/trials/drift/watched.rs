//! The agent looks by itself, and tells when what differs has changed.

use serde_json::Value;

use super::Belongings;
use crate::files::{one, stays};
use crate::scene::Scene;
use crate::wait;

pub(super) fn changes_are_told_as_events(scene: &mut Scene<'_>) {
    scene.agent.reconfigure(&format!("drift_interval = '2s'\n{}", scene.subject.config()));
    scene.deploy(&one(&scene.service, &stays("up"), "memory = '64m'")).ok();
    let mut belongings = Belongings::new(scene.engine());
    let it = scene.it();
    let (id, name) = (it["instance"]["id"].as_str().unwrap(), it["instance"]["name"].as_str().unwrap());
    wait::stays("nothing is told", std::time::Duration::from_secs(4), || told(scene), Vec::is_empty);
    scene.engine().run(&["rename", id, &format!("{name}-by-hand")]);
    tells(scene, 1, &[("name", "renamed")]);
    let (does, found, undoes) = second(scene, id, &mut belongings);
    let engine = scene.engine().clone();
    let run = |words: &[String]| engine.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    run(&does);
    tells(scene, 2, &[("name", "renamed"), (&found.0, found.1)]);
    scene.agent.stop();
    scene.agent.start_again();
    scene.await_state("running");
    wait::stays(
        "what was told is not told again",
        std::time::Duration::from_secs(4),
        || told(scene),
        |told| told.len() == 2,
    );
    run(&undoes);
    tells(scene, 3, &[("name", "renamed")]);
    scene.engine().run(&["rename", id, name]);
    tells(scene, 4, &[]);
    assert_eq!(told(scene)[3]["details"]["cleared"], true);
}

/// Another change, what is found of it, and how it is undone: of a limit, or where nobody can change that, of its networks.
fn second(
    scene: &Scene<'_>,
    id: &str,
    belongings: &mut Belongings,
) -> (Vec<String>, (String, &'static str), Vec<String>) {
    let words = |text: String| text.split(' ').map(str::to_owned).collect();
    if scene.engine().changes_what_is_there() {
        let limit = |memory: &str| words(format!("update --memory {memory} --memory-swap {memory} {id}"));
        return (limit("96m"), ("memory".to_owned(), "changed by hand"), limit("64m"));
    }
    let other = format!("{}-other", scene.service);
    belongings.make(&["network", "create", &other], &["network", "rm", "-f", &other]);
    let change = |verb: &str| words(format!("network {verb} {other} {id}"));
    (change("connect"), (format!("networks.{other}"), "extra"), change("disconnect"))
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
