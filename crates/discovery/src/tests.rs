//! The model's answers to lists, events and inspections, and the stream on the in-process runtime.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod model;
mod stream;

use std::collections::BTreeMap;

use hythe_runtime::labels::Labels;
use hythe_runtime::{Cursor, Event, EventKind, Exit, InstanceId, Listed, Observed, ObservedNetwork, State};
use jiff::Timestamp;

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn row(id: &str, state: State) -> Listed {
    Listed {
        id: InstanceId(id.to_owned()),
        name: format!("name-{id}"),
        labels: BTreeMap::new(),
        identity: None,
        image: "image:1".to_owned(),
        state,
        exit_code: (state == State::Exited).then_some(3),
        created: Some(at(1)),
        ports: Vec::new(),
        networks: vec!["net".to_owned()],
    }
}

/// As the engine describes it when it was started then.
fn seen(id: &str, state: State, started: i64) -> Observed {
    let Listed { id, name, labels, identity, image, exit_code, created, ports, .. } = row(id, state);
    let network = ObservedNetwork { name: "net".to_owned(), addresses: vec![[10, 0, 0, 2].into()], aliases: None };
    Observed {
        id,
        name,
        labels,
        identity,
        image,
        state,
        created,
        started: Some(at(started)),
        exit: exit_code.map(Exit::from_code),
        networks: vec![network],
        ports,
        ..Observed::default()
    }
}

fn event(id: &str, second: i64, kind: EventKind) -> Event {
    let name = Some(format!("name-{id}"));
    Event { cursor: Cursor::START, time: at(second), id: InstanceId(id.to_owned()), name, identity: None, kind }
}

fn stopped(code: i32) -> EventKind {
    EventKind::Stopped { exit: Exit::from_code(code) }
}
