#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use hythe_spec::Component;
use hythe_store::{ComponentSpec, Desired, DesiredRecord, ServiceRecord, Store, Transaction};
use jiff::Timestamp;

use super::*;

/// A store with so many services of one component, all of them stopped.
fn store(services: usize) -> Store {
    let component = Component::new("web", "localhost/test:1".parse().unwrap());
    let mut changes = Transaction::default();
    for at in 0..services {
        let desired = Service {
            name: format!("s{at}"),
            node: None,
            labels: BTreeMap::new(),
            active: false,
            drift: hythe_spec::Drift::Report,
            components: vec![component.clone()],
        };
        let spec = ComponentSpec { component: component.clone(), labels: BTreeMap::new(), hash: String::new() };
        changes.desired.push(DesiredRecord::new(&desired.name, spec, 1, Desired::Stopped, "memory"));
        changes.services.push(ServiceRecord { desired, updated: Timestamp::UNIX_EPOCH, removing: None });
    }
    let store = Store::in_memory().unwrap();
    store.commit(&changes).unwrap();
    store
}

/// Processor time of this thread, which other load does not change much.
fn worked() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn work_of_a_list(services: usize) -> Duration {
    let app = crate::testing::app_of(crate::guard::Guard::new(None, &[]), store(services));
    let list = || {
        let before = worked();
        assert_eq!(rows(&app).unwrap().len(), services);
        worked() - before
    };
    (0..5).map(|_| list()).min().unwrap()
}

#[tokio::test]
async fn the_work_of_the_list_grows_with_the_services_and_not_with_their_square() {
    let (few, many) = (work_of_a_list(300), work_of_a_list(3000));
    assert!(many < few * 30, "ten times the services take {many:?} in place of {few:?}");
}
