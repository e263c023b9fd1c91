//! What can go wrong around the agent, one kind a file, and what must still be true: one instance, the right one, nothing lost, nothing false said.

mod boot;
mod by_hand;
mod clock;
mod lost_reply;
mod lost_state;
mod own_engine;
mod races;
mod supervisor;

use serde_json::Value;

use crate::fixture::Fixture;
use crate::trial::Trial;
use crate::wait;

pub(super) fn trials() -> Vec<Trial> {
    [
        boot::trials(),
        by_hand::trials(),
        clock::trials(),
        lost_reply::trials(),
        lost_state::trials(),
        own_engine::trials(),
        races::trials(),
        supervisor::trials(),
    ]
    .concat()
}

/// The workload as the agent tells it, the differences it finds, and what the engine has of the service: id, whether it runs, generation.
type Seen = (Value, Vec<Value>, Vec<(String, bool, u64)>);

fn seen(fixture: &Fixture<'_>) -> Seen {
    let it = fixture.it();
    let differences = if it.is_null() { Vec::new() } else { fixture.differences() };
    let rows = fixture.engine().rows(&fixture.service_label());
    (it, differences, rows.into_iter().map(|row| (row.id, row.running, row.generation)).collect())
}

/// It is as desired, running or stopped, in the one instance that the agent knows: of the generation that is desired, or, where a stop came before the
/// replacement had proven good, of an earlier one.
fn is_one((it, differences, rows): &Seen) -> bool {
    let running = it["desired"] == "running";
    let state = if running { "running" } else { "stopped" };
    let (id, desired) =
        (it["instance"]["id"].as_str().unwrap_or_default(), it["generation"].as_u64().unwrap_or_default());
    let fits = |generation: u64| if running { generation == desired } else { (1..=desired).contains(&generation) };
    let only = |row: &(String, bool, u64)| row.0 == id && row.1 == running && fits(row.2);
    it["state"] == state && differences.is_empty() && rows.len() == 1 && rows.iter().all(only)
}

/// Waits until there is exactly one, as desired, and it stays so; the workload.
#[track_caller]
fn settles(fixture: &Fixture<'_>, what: &str) -> Value {
    let memory = !fixture.subject.engine_is_real();
    let good = |seen: &Seen| {
        let said = seen.0["state"] == if seen.0["desired"] == "running" { "running" } else { "stopped" };
        if memory { said && seen.1.is_empty() } else { is_one(seen) }
    };
    wait::until(what, || seen(fixture), good);
    let mut last = Value::Null;
    for _ in 0..3 {
        let now = seen(fixture);
        assert!(good(&now), "did not stay: {what}\nseen: {now:#?}");
        last = now.0;
    }
    last
}

/// The newest event's cursor.
fn newest(fixture: &Fixture<'_>) -> u64 {
    fixture.events().iter().filter_map(|event| event["cursor"].as_u64()).max().unwrap_or_default()
}

/// Events of the service after a cursor.
fn events_after(fixture: &Fixture<'_>, cursor: u64) -> Vec<Value> {
    fixture.events().into_iter().filter(|event| event["cursor"].as_u64() > Some(cursor)).collect()
}

/// Host pid of a workload's process, as the engine says through the agent.
#[track_caller]
fn pid(fixture: &Fixture<'_>, workload: &str) -> u64 {
    let document = fixture.hythe(&["inspect", workload]).ok().json();
    document["observed"]["pid"].as_u64().unwrap_or_else(|| panic!("no pid: {document:#}"))
}
