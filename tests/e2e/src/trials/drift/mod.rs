//! Changes made by hand, with the engine's own program: `status` names the field and the cause of each, and nothing else.

mod anew;
mod heals;
mod live;
mod watched;

use serde_json::Value;

use crate::engine::Engine;
use crate::fixture::Fixture;
use crate::trial::trials;
use crate::wait;

trials!("drift":
    an_unchanged_service_differs_in_nothing Real,
    changes_of_a_running_service_are_found Real,
    instances_made_anew_are_compared_in_every_field Commanded,
    changes_are_reported_as_events Real,
    heals_what_was_changed_by_hand Real,
);

use anew::instances_made_anew_are_compared_in_every_field;
use heals::heals_what_was_changed_by_hand;
use live::{an_unchanged_service_differs_in_nothing, changes_of_a_running_service_are_found};
use watched::changes_are_reported_as_events;

/// A field and why it differs.
type Expected<'a> = (&'a str, &'a str);

/// What differs, in short.
fn short(differences: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    differences.iter().map(|difference| (text(&difference["field"]), text(&difference["cause"]))).collect()
}

fn is(differences: &[Value], expected: &[Expected<'_>]) -> bool {
    let found = short(differences);
    found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, expected)| (found.0.as_str(), found.1.as_str()) == *expected)
}

/// Soon `status` finds exactly this.
#[track_caller]
fn finds(fixture: &Fixture<'_>, what: &str, expected: &[Expected<'_>]) {
    let what = format!("`status` finds {expected:?} after: {what}");
    wait::until(&what, || fixture.differences(), |found| is(found, expected));
}

/// What a trial made in the engine beside its service; removed when dropped.
struct Belongings {
    engine: Engine,
    removals: Vec<Vec<String>>,
}

impl Belongings {
    fn new(engine: &Engine) -> Self {
        Self { engine: engine.clone(), removals: Vec::new() }
    }

    /// Makes something, and notes how to remove it.
    #[track_caller]
    fn make(&mut self, make: &[&str], remove: &[&str]) -> String {
        self.removals.push(remove.iter().map(|word| (*word).to_owned()).collect());
        self.engine.run(make)
    }
}

impl Drop for Belongings {
    fn drop(&mut self) {
        for removal in self.removals.iter().rev() {
            let words: Vec<&str> = removal.iter().map(String::as_str).collect();
            // What is gone already needs no removing.
            self.engine.tries(&words);
        }
    }
}
