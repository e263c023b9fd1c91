//! The kinds of events and operations: what the API publishes is what the agent can emit, no more and no less.

use std::collections::BTreeSet;

use hythe_api::{EventKind, OperationKind, Vocabulary, document};
use hythe_architecture::{Source, sources_below};

use crate::hold;

/// Who emits.
const EMITTERS: &[&str] = &["crates/controller/src/", "crates/store/src/", "crates/agent/src/"];
/// Where a kind may be made from text: it is what the database has.
const READERS: &[&str] = &["crates/store/src/events.rs", "crates/spec/src/vocabulary/"];

#[test]
fn openapi_event_kinds_are_those_of_the_enum() {
    assert_eq!(published("EventKind", "Event"), names::<EventKind>());
}

#[test]
fn openapi_operation_kinds_are_those_of_the_enum() {
    assert_eq!(published("OperationKind", "Operation"), names::<OperationKind>());
}

#[test]
fn every_event_kind_can_be_emitted() {
    let kinds = EventKind::ALL.iter().map(|kind| format!("{kind:?}"));
    let breaches = kinds.filter(|kind| !emitters().iter().any(|source| emits(source, &format!("EventKind::{kind}"))));
    hold("every published kind of event is emitted somewhere", &breaches.collect::<Vec<_>>());
}

#[test]
fn every_operation_kind_can_be_begun() {
    let begins = |source: &Source, kind: &str| source.code().contains(&format!(".spawn(OperationKind::{kind},"));
    let kinds = OperationKind::ALL.iter().map(|kind| format!("{kind:?}"));
    let breaches = kinds.filter(|kind| !emitters().iter().any(|source| begins(source, kind)));
    hold("every published kind of operation is begun somewhere", &breaches.collect::<Vec<_>>());
}

/// Whoever emits has a value of the enum: nothing else can be stored.
#[test]
fn no_kind_is_made_from_text() {
    let from_text = ["OpenEnum::read(", "OpenEnum::Unknown("];
    let elsewhere = |source: &&Source| !READERS.iter().any(|reader| source.path.starts_with(reader));
    let mut breaches = Vec::new();
    for source in sources_below("crates/").iter().filter(|source| is_shipped(source)).filter(elsewhere) {
        let code = shipped(&source.code());
        breaches.extend(from_text.iter().filter(|text| code.contains(*text)).map(|_| source.path.clone()));
    }
    hold("a kind is read as text from the database alone", &breaches);
}

fn published(schema: &str, of: &str) -> BTreeSet<String> {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let reference = &schemas[of]["properties"]["kind"];
    let named = [&reference["$ref"], &reference["allOf"][0]["$ref"]];
    let expected = format!("#/components/schemas/{schema}");
    assert!(named.iter().any(|name| **name == expected), "`{of}.kind` is no `{schema}`: {reference}");
    let values = schemas[schema]["oneOf"].as_array().cloned().unwrap_or_default();
    values.iter().filter_map(|value| value["const"].as_str()).map(str::to_owned).collect()
}

fn names<T: Vocabulary>() -> BTreeSet<String> {
    T::ALL.iter().map(|value| value.as_str().to_owned()).collect()
}

fn emitters() -> Vec<Source> {
    EMITTERS.iter().flat_map(|place| sources_below(place)).filter(is_shipped).collect()
}

fn is_shipped(source: &Source) -> bool {
    let is_test =
        source.path.contains("/tests/") || source.name().ends_with("tests.rs") || source.name() == "testing.rs";
    source.is_rust() && source.path.contains("/src/") && !is_test
}

/// The code without the tests at its end.
fn shipped(code: &str) -> String {
    code.split("\nmod tests {").next().unwrap_or_default().to_owned()
}

/// Whether the value is given to something, not only compared with: it stands as an argument or as the value of a field.
fn emits(source: &Source, value: &str) -> bool {
    let code = shipped(&source.code());
    code.match_indices(value).any(|(at, _)| {
        let (before, after) = (code[..at].trim_end(), code[at + value.len()..].trim_start());
        let is_given = before.ends_with(['(', ',', ':']);
        is_given && after.starts_with([',', ')', '.'])
    })
}

#[test]
fn comparison_is_no_emission() {
    let source = |text: &str| Source { path: String::new(), text: text.to_owned() };
    let emitting = ["note(EventKind::A, 1)", "f(x, EventKind::A)", "kind: EventKind::A.into()", "Some(EventKind::A,"];
    assert!(emitting.iter().all(|text| emits(&source(text), "EventKind::A")));
    let comparing = ["kind == EventKind::A", "EventKind::A => 1", "kind: EngineEventKind::A", "(EventKind::Ab, 1)"];
    assert!(!comparing.iter().any(|text| emits(&source(text), "EventKind::A")));
}
