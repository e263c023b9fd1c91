//! The agent looks by itself, and tells when what differs has changed.

use serde_json::Value;

use super::Belongings;
use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::wait;

pub(super) fn changes_are_reported_as_events(fixture: &mut Fixture<'_>) {
    fixture.agent.reconfigure(&format!("drift_interval = '2s'\n{}", fixture.subject.config()));
    fixture.deploy(&one(&fixture.service, &stays("up"), "memory = '64m'")).ok();
    let mut belongings = Belongings::new(fixture.engine());
    let it = fixture.it();
    let (id, name) = (it["instance"]["id"].as_str().unwrap(), it["instance"]["name"].as_str().unwrap());
    wait::stays("nothing is told", std::time::Duration::from_secs(4), || told(fixture), Vec::is_empty);
    fixture.engine().run(&["rename", id, &format!("{name}-by-hand")]);
    tells(fixture, 1, &[("name", "renamed")]);
    let (does, found, undoes) = second(fixture, id, &mut belongings);
    let engine = fixture.engine().clone();
    let run = |words: &[String]| engine.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    run(&does);
    tells(fixture, 2, &[("name", "renamed"), (&found.0, found.1)]);
    fixture.agent.stop();
    fixture.agent.start_again();
    fixture.await_state("running");
    wait::stays(
        "what was told is not told again",
        std::time::Duration::from_secs(4),
        || told(fixture),
        |told| told.len() == 2,
    );
    run(&undoes);
    tells(fixture, 3, &[("name", "renamed")]);
    fixture.engine().run(&["rename", id, name]);
    tells(fixture, 4, &[]);
    assert_eq!(told(fixture)[3]["details"]["cleared"], true);
}

/// Another change, what is found of it, and how it is undone: of a limit, or where nobody can change that, of its networks.
fn second(
    fixture: &Fixture<'_>,
    id: &str,
    belongings: &mut Belongings,
) -> (Vec<String>, (String, &'static str), Vec<String>) {
    let words = |text: String| text.split(' ').map(str::to_owned).collect();
    if fixture.engine().changes_what_is_there() {
        let limit = |memory: &str| words(format!("update --memory {memory} --memory-swap {memory} {id}"));
        return (limit("96m"), ("memory".to_owned(), "modified"), limit("64m"));
    }
    let other = format!("{}-other", fixture.service);
    belongings.make(&["network", "create", &other], &["network", "rm", "-f", &other]);
    let change = |verb: &str| words(format!("network {verb} {other} {id}"));
    (change("connect"), (format!("networks.{other}"), "unexpected"), change("disconnect"))
}

fn told(fixture: &Fixture<'_>) -> Vec<Value> {
    fixture.events().into_iter().filter(|event| event["kind"] == "drift").collect()
}

/// The event of that number tells exactly this.
#[track_caller]
fn tells(fixture: &Fixture<'_>, number: usize, expected: &[super::Expected<'_>]) {
    let told = wait::until("the change is told", || told(fixture), |told| told.len() >= number);
    let differences = told[number - 1]["details"]["differences"].as_array().cloned().unwrap_or_default();
    assert!(told.len() == number && super::is(&differences, expected), "{expected:?}: {told:#?}");
}
