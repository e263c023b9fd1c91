//! The event stream for readers: nobody loses an event in silence, however slow they are and whatever happens to the agent.

use std::time::Duration;

use crate::files::{IMAGE, stays};
use crate::fixture::Fixture;
use crate::program::Following;
use crate::sse::{Message, Reader};
use crate::trial::trials;
use crate::wait;

trials!("events":
    what_nobody_read_is_read_once_and_in_order Memory,
    a_reader_that_stops_reading_is_reported_and_cut_off Memory,
    a_reader_that_retention_overtakes_is_reported_and_cut_off Memory,
    a_cursor_outlives_the_agent Every,
    the_command_goes_on_when_the_agent_comes_back Memory,
    a_forgotten_cursor_is_a_gap Memory,
    old_events_are_forgotten Memory,
);

/// Components of the service that makes much happen.
const MANY: u64 = 100;

/// Deploys a service of many components, again and again, until so many more events are kept; the newest cursor.
fn make_events(fixture: &Fixture<'_>, count: u64) -> u64 {
    let (begin, mut round) = (newest(fixture), 0);
    while newest(fixture) < begin + count {
        let component = |at| {
            format!(
                "\n[[components]]\nname = 'c{at}'\nimage = '{IMAGE}'\ncommand = ['sh', '-c', '''{}''']\nenv = {{ R = '{round}' }}\n",
                stays("up")
            )
        };
        let text = (0..MANY.min(count))
            .map(component)
            .fold(format!("name = '{}'\n", fixture.service), |text, part| text + &part);
        fixture.deploy(&text).ok();
        round += 1;
    }
    newest(fixture)
}

fn newest(fixture: &Fixture<'_>) -> u64 {
    let events = fixture.hythe(&["events", "--limit", "1", "--json"]).ok().json_lines();
    events.last().and_then(|event| event["cursor"].as_u64()).unwrap_or_default()
}

#[track_caller]
fn is_complete(messages: &[Message], after: u64, to: u64) {
    let cursors: Vec<u64> = messages.iter().filter_map(|message| message.id).collect();
    assert_eq!(cursors, (after + 1..=to).collect::<Vec<_>>(), "each once and in order");
    assert!(messages.iter().all(|message| message.data["cursor"].as_u64() == message.id), "id and cursor differ");
}

fn what_nobody_read_is_read_once_and_in_order(fixture: &mut Fixture<'_>) {
    let to = make_events(fixture, 2000);
    let read = Reader::follow(&fixture.agent.socket(), 0, false).until(to);
    is_complete(&read, 0, to);
    let half = to / 2;
    is_complete(&Reader::follow(&fixture.agent.socket(), half, true).until(to), half, to);
}

fn a_reader_that_stops_reading_is_reported_and_cut_off(fixture: &mut Fixture<'_>) {
    make_events(fixture, 1);
    let mut reader = Reader::follow(&fixture.agent.socket(), 0, false);
    reader.next().unwrap();
    // More than a reader may be behind, and made sooner than the agent waits for one that it has cut off.
    let to = make_events(fixture, 2000);
    // Nothing is read until it has been too slow for long enough.
    std::thread::sleep(Duration::from_secs(7));
    let mut all = Vec::new();
    while let Some(message) = reader.next() {
        all.push(message);
    }
    let gap = all.pop().unwrap();
    assert_eq!((gap.kind.as_str(), &gap.data["details"]["lost"]), ("gap", &false.into()), "{gap:?}");
    let last = all.last().and_then(|message| message.id).unwrap();
    assert!(last < to, "it was given everything, so nothing was proven");
    is_complete(&all, 1, last);
    let details = &gap.data["details"];
    assert_eq!((details["from"].as_u64(), gap.id), (Some(last), Some(last)), "{gap:?}");
    assert!(details["to"].as_u64() > Some(last + 1000), "{gap:?}");
    is_complete(&Reader::follow(&fixture.agent.socket(), last, true).until(to), last, to);
}

fn a_reader_that_retention_overtakes_is_reported_and_cut_off(fixture: &mut Fixture<'_>) {
    fixture.agent.reconfigure(&format!("keep_events = 100\n{}", fixture.subject.config()));
    make_events(fixture, 1);
    let mut reader = Reader::follow(&fixture.agent.socket(), 0, false);
    let first = reader.next().unwrap().id.unwrap();
    make_events(fixture, 5000);
    let mut all = Vec::new();
    while let Some(message) = reader.next() {
        all.push(message);
    }
    let gap = all.pop().unwrap();
    let details = &gap.data["details"];
    assert_eq!((gap.kind.as_str(), &details["lost"]), ("gap", &true.into()), "{gap:?}");
    let last = all.last().and_then(|message| message.id).unwrap();
    is_complete(&all, first, last);
    let forgotten = details["to"].as_u64().unwrap();
    assert_eq!((details["from"].as_u64(), gap.id), (Some(last), Some(forgotten)), "{gap:?}");
    // Going on where it says is possible without another gap.
    let end = newest(fixture);
    is_complete(&Reader::follow(&fixture.agent.socket(), end - 20, true).until(end), end - 20, end);
}

fn a_cursor_outlives_the_agent(fixture: &mut Fixture<'_>) {
    let text = crate::files::one(&fixture.service, &stays("up"), "");
    fixture.deploy(&text).ok();
    let mut reader = Reader::follow(&fixture.agent.socket(), 0, false);
    let seen = reader.next().unwrap().id.unwrap();
    fixture.agent.crash(Duration::from_millis(100));
    fixture.hythe(&["stop", &fixture.service]).ok();
    wait::until(
        "the stop is an event",
        || fixture.events(),
        |events| events.iter().any(|event| event["kind"] == "stopped"),
    );
    let to = newest(fixture);
    is_complete(&Reader::follow(&fixture.agent.socket(), seen, true).until(to), seen, to);
}

fn the_command_goes_on_when_the_agent_comes_back(fixture: &mut Fixture<'_>) {
    make_events(fixture, 1);
    let follow = Following::start(&mut fixture.agent.command(&["events", "-f", "--after", "0", "--json"]));
    let followed = || follow.lines().iter().map(|line| line["cursor"].as_u64().unwrap()).collect::<Vec<_>>();
    let mut to = newest(fixture);
    for _ in 0..3 {
        wait::until("all so far is followed", followed, |cursors| cursors.last() >= Some(&to));
        fixture.agent.crash(Duration::from_millis(500));
        to = make_events(fixture, 10);
    }
    let cursors = wait::until("all is followed", followed, |cursors| cursors.last() >= Some(&to));
    let all: Vec<u64> = cursors.into_iter().filter(|cursor| *cursor <= to).collect();
    assert_eq!(all, (1..=to).collect::<Vec<_>>(), "each once and in order over three crashes");
}

fn a_forgotten_cursor_is_a_gap(fixture: &mut Fixture<'_>) {
    fixture.agent.reconfigure(&format!("keep_events = 50\n{}", fixture.subject.config()));
    let to = make_events(fixture, 1000);
    let mut reader = Reader::follow(&fixture.agent.socket(), 5, true);
    let gap = reader.next().unwrap();
    let details = &gap.data["details"];
    assert_eq!((gap.kind.as_str(), &details["from"], &details["lost"]), ("gap", &5.into(), &true.into()), "{gap:?}");
    let oldest = details["to"].as_u64().unwrap() + 1;
    is_complete(&reader.until(to), oldest - 1, to);
    let kept = fixture.hythe(&["events", "--json"]).ok().json_lines().len();
    assert!(kept < 700, "{kept} events are kept");
    let mut from_the_beginning = Reader::follow(&fixture.agent.socket(), 0, false);
    assert_ne!(from_the_beginning.next().unwrap().kind, "gap", "who has read nothing has lost nothing");
}

fn old_events_are_forgotten(fixture: &mut Fixture<'_>) {
    make_events(fixture, 300);
    assert!(fixture.hythe(&["events", "--json"]).ok().json_lines().len() >= 300);
    std::thread::sleep(Duration::from_secs(1));
    fixture.agent.reconfigure(&format!("keep_events_for = \"1s\"\n{}", fixture.subject.config()));
    // What happened before the start is too old; the start has its own events.
    let old = |events: &Vec<serde_json::Value>| events.iter().any(|event| event["kind"] == "deployed");
    wait::until("forgotten", || fixture.hythe(&["events", "--json"]).ok().json_lines(), |events| !old(events));
}
