//! What each list, event and inspection changes.

use hythe_runtime::{EngineHealth, Error, ErrorKind, Event, EventKind, Exit, Observed, State};

use super::{event, row, seen, stopped};
use crate::model::Model;
use crate::{Change, FoundInstance};

const R: &str = "r";

fn model() -> Model {
    Model::new("agent", [R.to_owned(), "other".to_owned()])
}

fn listed(model: &mut Model, rows: &[(&str, State)]) -> Vec<String> {
    let list = rows.iter().map(|(id, state)| FoundInstance::of_row(R, row(id, *state), "agent")).collect();
    words(&model.listed(R, list))
}

/// `started a`, `updated a: paused` …
fn words(changes: &[Change]) -> Vec<String> {
    let word = |change: &Change| match change {
        Change::Created(found) => format!("created {}", found.id),
        Change::Started(found) => format!("started {}", found.id),
        Change::Stopped(found, exit) => {
            assert!(!found.is_live(), "stopped and live: {found:?}");
            let exit = exit.as_ref().and_then(|exit| exit.code).map_or("?".to_owned(), |code| code.to_string());
            format!("stopped {} {exit}", found.id)
        }
        Change::Updated(found, what) => format!("updated {}: {what}", found.id),
        Change::Removed(found) => format!("removed {}", found.id),
        Change::Disconnected(runtime, reason) => format!("disconnected {runtime}: {reason}"),
        Change::Reconnected(runtime) => format!("reconnected {runtime}"),
    };
    changes.iter().map(word).collect()
}

fn apply_event(model: &mut Model, id: &str, second: i64, kind: EventKind, detail: Option<Observed>) -> Vec<String> {
    let detail = detail.map(Ok);
    words(&model.event(R, &event(id, second, kind), detail.as_ref()))
}

fn updated(what: &str) -> EventKind {
    EventKind::Updated { what: what.to_owned() }
}

/// A model with `a`, running since then, known in full.
fn with_a(started: i64) -> Model {
    let mut model = model();
    listed(&mut model, &[("a", State::Running)]);
    model.inspected(R, &seen("a", State::Running, started));
    model
}

#[test]
fn list_after_outage_reports_ends_then_starts_then_reconnect() {
    let mut model = model();
    let first =
        listed(&mut model, &[("b", State::Running), ("c", State::Paused), ("d", State::Exited), ("e", State::Running)]);
    assert_eq!(first, ["started b", "started c", "created d", "started e", "reconnected r"]);
    assert_eq!(words(&model.disconnected(R, "gone")), ["disconnected r: gone"]);
    assert_eq!(words(&model.disconnected(R, "still gone")), [""; 0]);
    assert_eq!(model.instances().len(), 4, "known instances are kept");
    let again = listed(
        &mut model,
        &[("a", State::Running), ("c", State::Running), ("d", State::Running), ("e", State::Exited)],
    );
    let expected =
        ["stopped b ?", "removed b", "stopped e 3", "started a", "updated c: state", "started d", "reconnected r"];
    assert_eq!(again, expected);
    assert_eq!(listed(&mut model, &[("a", State::Running)])[0], "stopped c ?");
}

#[test]
fn list_without_changes_reports_nothing_and_ignores_other_runtimes() {
    let mut model = with_a(5);
    let other = FoundInstance::of_row("other", row("a", State::Running), "agent");
    model.listed("other", vec![other]);
    assert_eq!(listed(&mut model, &[("a", State::Running)]), [""; 0]);
    assert_eq!(model.incomplete(R), ["a"], "addresses may have changed meanwhile");
    assert_eq!(listed(&mut model, &[]), ["stopped a ?", "removed a"]);
    assert_eq!(model.instances().len(), 1);
}

#[test]
fn inspection_adds_details_and_reports_a_missed_restart() {
    let mut model = model();
    listed(&mut model, &[("a", State::Running)]);
    assert_eq!(words(&model.inspected(R, &seen("a", State::Running, 5))), ["updated a: started, addresses"]);
    assert_eq!(words(&model.inspected(R, &seen("a", State::Running, 5))), [""; 0]);
    listed(&mut model, &[("a", State::Running)]);
    assert_eq!(words(&model.inspected(R, &seen("a", State::Running, 9))), ["stopped a ?", "started a"]);
    assert_eq!(words(&model.inspected(R, &seen("gone", State::Running, 9))), [""; 0]);
}

#[test]
fn inspection_of_ended_instance_waits_for_the_stop_event() {
    let mut model = model();
    listed(&mut model, &[("a", State::Running)]);
    assert_eq!(words(&model.inspected(R, &seen("a", State::Exited, 5))), [""; 0]);
    assert_eq!(apply_event(&mut model, "a", 6, stopped(7), None), ["stopped a 7"]);
}

#[test]
fn every_transition_is_reported_once() {
    let mut model = model();
    listed(&mut model, &[]);
    assert_eq!(apply_event(&mut model, "a", 4, EventKind::Created, Some(seen("a", State::Running, 5))), ["created a"]);
    assert_eq!(apply_event(&mut model, "a", 5, EventKind::Started, Some(seen("a", State::Running, 5))), ["started a"]);
    assert_eq!(apply_event(&mut model, "a", 5, EventKind::Started, Some(seen("a", State::Running, 5))), [""; 0]);
    let signalled = EventKind::Signalled { signal: "1".to_owned() };
    assert_eq!(apply_event(&mut model, "a", 6, signalled, None), [""; 0], "a signal is no end");
    assert_eq!(apply_event(&mut model, "a", 7, EventKind::Paused, None), ["updated a: paused"]);
    assert_eq!(apply_event(&mut model, "a", 7, EventKind::Paused, None), [""; 0]);
    assert_eq!(apply_event(&mut model, "a", 8, EventKind::Unpaused, None), ["updated a: unpaused"]);
    assert_eq!(apply_event(&mut model, "a", 9, stopped(0), None), ["stopped a 0"]);
    assert_eq!(apply_event(&mut model, "a", 9, stopped(0), None), [""; 0]);
    assert_eq!(apply_event(&mut model, "a", 10, EventKind::Removed, None), ["removed a"]);
    assert_eq!(apply_event(&mut model, "a", 10, EventKind::Removed, None), [""; 0]);
}

#[test]
fn start_event_after_list_is_not_reported_again() {
    let mut model = model();
    listed(&mut model, &[("a", State::Running)]);
    // The subscription is older than the list: the start comes after it, and only what was asked now is news.
    let reported = apply_event(&mut model, "a", 5, EventKind::Started, Some(seen("a", State::Running, 5)));
    assert_eq!(reported, ["updated a: started, addresses"]);
    assert_eq!(model.incomplete(R), [""; 0], "the engine has been asked");
}

#[test]
fn instance_gone_before_inspection_is_reported() {
    let mut model = model();
    listed(&mut model, &[]);
    let absent = Err(Error::new(ErrorKind::NotFound, "inspect", "no `a`"));
    let mut reported = Vec::new();
    for (second, kind) in [(5, EventKind::Started), (6, stopped(1)), (7, EventKind::Removed)] {
        reported.extend(words(&model.event(R, &event("a", second, kind), Some(&absent))));
    }
    assert_eq!(reported, ["started a", "stopped a 1", "removed a"]);
}

#[test]
fn instance_ended_before_its_start_event_is_reported_started_and_stopped_once() {
    let mut model = model();
    listed(&mut model, &[]);
    let ended = seen("a", State::Exited, 5);
    assert_eq!(apply_event(&mut model, "a", 5, EventKind::Started, Some(ended)), ["started a", "stopped a 3"]);
    assert_eq!(apply_event(&mut model, "a", 6, stopped(3), None), [""; 0]);
}

#[test]
fn crash_loop_reports_each_run_with_its_own_exit() {
    for (state, last) in [(State::Running, "started a"), (State::Exited, "stopped a 3")] {
        let mut model = model();
        listed(&mut model, &[]);
        let mut reported = Vec::new();
        for (second, code) in [(5, 1), (7, 2)] {
            reported.extend(apply_event(&mut model, "a", second, EventKind::Started, Some(seen("a", state, 9))));
            reported.extend(apply_event(&mut model, "a", second + 1, stopped(code), Some(seen("a", state, 9))));
        }
        reported.extend(apply_event(&mut model, "a", 9, EventKind::Started, Some(seen("a", state, 9))));
        assert_eq!(reported[..4], ["started a", "stopped a 1", "started a", "stopped a 2"]);
        assert_eq!(reported.last().unwrap(), last);
    }
}

#[test]
fn exit_of_instance_being_removed_comes_from_the_event() {
    let mut model = model();
    listed(&mut model, &[]);
    let removing = seen("a", State::Removing, 5);
    assert_eq!(apply_event(&mut model, "a", 5, EventKind::Started, Some(removing)), ["started a"]);
    assert_eq!(apply_event(&mut model, "a", 6, stopped(3), None), ["stopped a 3"]);
}

#[test]
fn failed_inspection_does_not_end_an_instance() {
    let mut model = with_a(5);
    let broken = Err(Error::new(ErrorKind::Timeout, "inspect", "no answer"));
    for kind in [EventKind::Started, updated("network connect n")] {
        assert_eq!(words(&model.event(R, &event("a", 6, kind), Some(&broken))), [""; 0]);
    }
    assert!(model.instances()[0].is_live());
    let renamed = Event { name: Some("new".to_owned()), ..event("a", 7, updated("rename")) };
    assert_eq!(words(&model.event(R, &renamed, Some(&broken))), ["updated a: rename"]);
}

#[test]
fn late_stop_event_of_earlier_run_is_ignored() {
    let mut model = with_a(5);
    assert_eq!(
        apply_event(&mut model, "a", 9, EventKind::Started, Some(seen("a", State::Running, 9))),
        ["stopped a ?", "started a"]
    );
    let late = event("a", 8, stopped(1));
    assert!(model.needs_inspect(R, &late));
    assert_eq!(apply_event(&mut model, "a", 8, stopped(1), Some(seen("a", State::Running, 9))), [""; 0]);
    assert_eq!(apply_event(&mut model, "a", 10, stopped(1), None), ["stopped a 1"]);
}

#[test]
fn update_lists_only_what_changed_and_not_the_state() {
    let mut model = with_a(5);
    let same = seen("a", State::Running, 5);
    assert_eq!(apply_event(&mut model, "a", 6, updated("update"), Some(same.clone())), [""; 0]);
    let renamed = Observed { name: "new".to_owned(), state: State::Paused, ..same };
    assert_eq!(apply_event(&mut model, "a", 6, updated("rename"), Some(renamed)), ["updated a: rename"]);
    assert_eq!(model.instances()[0].state, State::Running);
    assert_eq!(apply_event(&mut model, "a", 6, EventKind::Paused, None), ["updated a: paused"]);
    let moved = Observed { networks: Vec::new(), health: Some(EngineHealth::Healthy), ..seen("a", State::Running, 5) };
    let moved = Observed { name: "new".to_owned(), ..moved };
    let reported = apply_event(&mut model, "a", 7, updated("network disconnect net"), Some(moved.clone()));
    assert_eq!(reported, ["updated a: health healthy, network disconnect net"]);
    assert_eq!(
        apply_event(&mut model, "a", 7, updated("health healthy"), Some(moved)),
        [""; 0],
        "one look showed both"
    );
    assert_eq!(apply_event(&mut model, "unknown", 6, updated("network connect n"), None), [""; 0]);
}

#[test]
fn unknown_state_does_not_end_an_instance() {
    let mut model = with_a(5);
    assert_eq!(listed(&mut model, &[("a", State::Unknown)]), ["updated a: state"]);
    assert!(model.instances()[0].is_live());
}

#[test]
fn exit_is_reported_with_the_stopped_instance() {
    let mut model = with_a(5);
    let exit = Exit::from_code(137).oom_killed(true);
    let changes = model.event(R, &event("a", 6, EventKind::Stopped { exit: exit.clone() }), None);
    let [Change::Stopped(found, reported)] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!((found.exit_code, reported.as_ref()), (Some(137), Some(&exit)));
    assert_eq!(found.networks[0].addresses.len(), 1, "who tears down must know what there was");
}
