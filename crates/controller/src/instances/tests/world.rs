//! What each word of an engine changes.

use hythe_runtime::{EngineHealth, Error, ErrorKind, Event, EventKind, Exit, Observed, State};

use super::super::world::World;
use super::super::{Change, FoundInstance};
use super::{event, row, seen, stopped};

const R: &str = "r";

fn world() -> World {
    World::new("agent", [R.to_owned(), "other".to_owned()])
}

fn listed(world: &mut World, rows: &[(&str, State)]) -> Vec<String> {
    let list = rows.iter().map(|(id, state)| FoundInstance::of_row(R, row(id, *state), "agent")).collect();
    words(&world.listed(R, list))
}

/// `started a`, `updated a: paused` …
fn words(changes: &[Change]) -> Vec<String> {
    let word = |change: &Change| match change {
        Change::Created(found) => format!("created {}", found.id),
        Change::Started(found) => format!("started {}", found.id),
        Change::Stopped(found, exit) => {
            assert!(!found.is_live(), "stopped and live: {found:?}");
            let exit = exit.as_ref().map_or("?".to_owned(), |exit| exit.code.to_string());
            format!("stopped {} {exit}", found.id)
        }
        Change::Updated(found, what) => format!("updated {}: {what}", found.id),
        Change::Removed(found) => format!("removed {}", found.id),
        Change::Disconnected(runtime, reason) => format!("disconnected {runtime}: {reason}"),
        Change::Reconnected(runtime) => format!("reconnected {runtime}"),
    };
    changes.iter().map(word).collect()
}

fn tell(world: &mut World, id: &str, second: i64, kind: EventKind, detail: Option<Observed>) -> Vec<String> {
    let detail = detail.map(Ok);
    words(&world.event(R, &event(id, second, kind), detail.as_ref()))
}

fn updated(what: &str) -> EventKind {
    EventKind::Updated { what: what.to_owned() }
}

/// A world with `a`, running since then, known in full.
fn with_a(started: i64) -> World {
    let mut world = world();
    listed(&mut world, &[("a", State::Running)]);
    world.detailed(R, &seen("a", State::Running, started));
    world
}

#[test]
fn after_an_outage_ends_come_before_starts_and_the_return_comes_last() {
    let mut world = world();
    let first =
        listed(&mut world, &[("b", State::Running), ("c", State::Paused), ("d", State::Exited), ("e", State::Running)]);
    assert_eq!(first, ["started b", "started c", "created d", "started e", "reconnected r"]);
    assert_eq!(words(&world.lost(R, "gone")), ["disconnected r: gone"]);
    assert_eq!(words(&world.lost(R, "still gone")), [""; 0]);
    assert_eq!(world.instances().len(), 4, "the inventory is kept");
    let again = listed(
        &mut world,
        &[("a", State::Running), ("c", State::Running), ("d", State::Running), ("e", State::Exited)],
    );
    let expected =
        ["stopped b ?", "removed b", "stopped e 3", "started a", "updated c: state", "started d", "reconnected r"];
    assert_eq!(again, expected);
    assert_eq!(listed(&mut world, &[("a", State::Running)])[0], "stopped c ?");
}

#[test]
fn another_look_at_the_same_is_no_news_and_other_runtimes_are_left_alone() {
    let mut world = with_a(5);
    let other = FoundInstance::of_row("other", row("a", State::Running), "agent");
    world.listed("other", vec![other]);
    assert_eq!(listed(&mut world, &[("a", State::Running)]), [""; 0]);
    assert_eq!(world.incomplete(R), ["a"], "addresses may have changed meanwhile");
    assert_eq!(listed(&mut world, &[]), ["stopped a ?", "removed a"]);
    assert_eq!(world.instances().len(), 1);
}

#[test]
fn details_fill_in_and_show_a_restart_that_nobody_told() {
    let mut world = world();
    listed(&mut world, &[("a", State::Running)]);
    assert_eq!(words(&world.detailed(R, &seen("a", State::Running, 5))), ["updated a: started, addresses"]);
    assert_eq!(words(&world.detailed(R, &seen("a", State::Running, 5))), [""; 0]);
    listed(&mut world, &[("a", State::Running)]);
    assert_eq!(words(&world.detailed(R, &seen("a", State::Running, 9))), ["stopped a ?", "started a"]);
    assert_eq!(words(&world.detailed(R, &seen("gone", State::Running, 9))), [""; 0]);
}

#[test]
fn details_that_say_it_ended_wait_for_the_event_that_says_how() {
    let mut world = world();
    listed(&mut world, &[("a", State::Running)]);
    assert_eq!(words(&world.detailed(R, &seen("a", State::Exited, 5))), [""; 0]);
    assert_eq!(tell(&mut world, "a", 6, stopped(7), None), ["stopped a 7"]);
}

#[test]
fn a_life_is_told_once() {
    let mut world = world();
    listed(&mut world, &[]);
    assert_eq!(tell(&mut world, "a", 4, EventKind::Created, Some(seen("a", State::Running, 5))), ["created a"]);
    assert_eq!(tell(&mut world, "a", 5, EventKind::Started, Some(seen("a", State::Running, 5))), ["started a"]);
    assert_eq!(tell(&mut world, "a", 5, EventKind::Started, Some(seen("a", State::Running, 5))), [""; 0]);
    let signalled = EventKind::Signalled { signal: "1".to_owned() };
    assert_eq!(tell(&mut world, "a", 6, signalled, None), [""; 0], "a signal is no end");
    assert_eq!(tell(&mut world, "a", 7, EventKind::Paused, None), ["updated a: paused"]);
    assert_eq!(tell(&mut world, "a", 7, EventKind::Paused, None), [""; 0]);
    assert_eq!(tell(&mut world, "a", 8, EventKind::Unpaused, None), ["updated a: unpaused"]);
    assert_eq!(tell(&mut world, "a", 9, stopped(0), None), ["stopped a 0"]);
    assert_eq!(tell(&mut world, "a", 9, stopped(0), None), [""; 0]);
    assert_eq!(tell(&mut world, "a", 10, EventKind::Removed, None), ["removed a"]);
    assert_eq!(tell(&mut world, "a", 10, EventKind::Removed, None), [""; 0]);
}

#[test]
fn what_the_list_said_already_is_not_told_again() {
    let mut world = world();
    listed(&mut world, &[("a", State::Running)]);
    // The subscription is older than the list: the start comes after it, and only what was asked now is news.
    let told = tell(&mut world, "a", 5, EventKind::Started, Some(seen("a", State::Running, 5)));
    assert_eq!(told, ["updated a: started, addresses"]);
    assert_eq!(world.incomplete(R), [""; 0], "the engine has been asked");
}

#[test]
fn one_that_was_gone_before_it_could_be_asked_about_is_still_told() {
    let mut world = world();
    listed(&mut world, &[]);
    let absent = Err(Error::new(ErrorKind::NotFound, "inspect", "no `a`"));
    let mut told = Vec::new();
    for (second, kind) in [(5, EventKind::Started), (6, stopped(1)), (7, EventKind::Removed)] {
        told.extend(words(&world.event(R, &event("a", second, kind), Some(&absent))));
    }
    assert_eq!(told, ["started a", "stopped a 1", "removed a"]);
}

#[test]
fn one_that_ended_before_its_start_was_read_is_told_to_start_and_to_stop_once() {
    let mut world = world();
    listed(&mut world, &[]);
    let ended = seen("a", State::Exited, 5);
    assert_eq!(tell(&mut world, "a", 5, EventKind::Started, Some(ended)), ["started a", "stopped a 3"]);
    assert_eq!(tell(&mut world, "a", 6, stopped(3), None), [""; 0]);
}

#[test]
fn every_run_of_a_crash_loop_is_told_with_its_own_end_though_the_engine_knows_the_last_one() {
    for (state, last) in [(State::Running, "started a"), (State::Exited, "stopped a 3")] {
        let mut world = world();
        listed(&mut world, &[]);
        let mut told = Vec::new();
        for (second, code) in [(5, 1), (7, 2)] {
            told.extend(tell(&mut world, "a", second, EventKind::Started, Some(seen("a", state, 9))));
            told.extend(tell(&mut world, "a", second + 1, stopped(code), Some(seen("a", state, 9))));
        }
        told.extend(tell(&mut world, "a", 9, EventKind::Started, Some(seen("a", state, 9))));
        assert_eq!(told[..4], ["started a", "stopped a 1", "started a", "stopped a 2"]);
        assert_eq!(told.last().unwrap(), last);
    }
}

#[test]
fn how_one_ended_that_is_being_removed_already_is_left_to_the_event() {
    let mut world = world();
    listed(&mut world, &[]);
    let removing = seen("a", State::Removing, 5);
    assert_eq!(tell(&mut world, "a", 5, EventKind::Started, Some(removing)), ["started a"]);
    assert_eq!(tell(&mut world, "a", 6, stopped(3), None), ["stopped a 3"]);
}

#[test]
fn a_failed_question_is_no_end() {
    let mut world = with_a(5);
    let broken = Err(Error::new(ErrorKind::Timeout, "inspect", "no answer"));
    for kind in [EventKind::Started, updated("network connect n")] {
        assert_eq!(words(&world.event(R, &event("a", 6, kind), Some(&broken))), [""; 0]);
    }
    assert!(world.instances()[0].is_live());
    let renamed = Event { name: Some("new".to_owned()), ..event("a", 7, updated("rename")) };
    assert_eq!(words(&world.event(R, &renamed, Some(&broken))), ["updated a: rename"]);
}

#[test]
fn the_end_of_an_earlier_run_told_late_ends_nothing() {
    let mut world = with_a(5);
    assert_eq!(
        tell(&mut world, "a", 9, EventKind::Started, Some(seen("a", State::Running, 9))),
        ["stopped a ?", "started a"]
    );
    let late = event("a", 8, stopped(1));
    assert!(world.wants_detail(R, &late));
    assert_eq!(tell(&mut world, "a", 8, stopped(1), Some(seen("a", State::Running, 9))), [""; 0]);
    assert_eq!(tell(&mut world, "a", 10, stopped(1), None), ["stopped a 1"]);
}

#[test]
fn only_what_changed_is_an_update_and_the_state_is_left_to_its_own_events() {
    let mut world = with_a(5);
    let same = seen("a", State::Running, 5);
    assert_eq!(tell(&mut world, "a", 6, updated("update"), Some(same.clone())), [""; 0]);
    let renamed = Observed { name: "new".to_owned(), state: State::Paused, ..same };
    assert_eq!(tell(&mut world, "a", 6, updated("rename"), Some(renamed)), ["updated a: rename"]);
    assert_eq!(world.instances()[0].state, State::Running);
    assert_eq!(tell(&mut world, "a", 6, EventKind::Paused, None), ["updated a: paused"]);
    let moved = Observed { networks: Vec::new(), health: Some(EngineHealth::Healthy), ..seen("a", State::Running, 5) };
    let moved = Observed { name: "new".to_owned(), ..moved };
    let told = tell(&mut world, "a", 7, updated("network disconnect net"), Some(moved.clone()));
    assert_eq!(told, ["updated a: health healthy, network disconnect net"]);
    assert_eq!(tell(&mut world, "a", 7, updated("health healthy"), Some(moved)), [""; 0], "one look showed both");
    assert_eq!(tell(&mut world, "unknown", 6, updated("network connect n"), None), [""; 0]);
}

#[test]
fn what_an_engine_does_not_know_is_not_taken_for_ended() {
    let mut world = with_a(5);
    assert_eq!(listed(&mut world, &[("a", State::Unknown)]), ["updated a: state"]);
    assert!(world.instances()[0].is_live());
}

#[test]
fn an_exit_is_kept_with_what_ended() {
    let mut world = with_a(5);
    let exit = Exit { oom: true, ..Exit::from_code(137) };
    let changes = world.event(R, &event("a", 6, EventKind::Stopped { exit: exit.clone() }), None);
    let [Change::Stopped(found, told)] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!((found.exit_code, told.as_ref()), (Some(137), Some(&exit)));
    assert_eq!(found.networks[0].addresses.len(), 1, "who tears down must know what there was");
}
