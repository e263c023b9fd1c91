#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use hythe_spec::Component;
use hythe_store::{ComponentSpec, Desired, DesiredRecord, ObservedRecord};

use super::*;

fn handle(service: &str, component: &str) -> (String, WorkloadHandle) {
    let component = Component::new(component, "localhost/test:1".parse().unwrap());
    let spec = ComponentSpec { component, labels: BTreeMap::new(), hash: String::new() };
    let desired = DesiredRecord::new(service, spec, 1, Desired::Running, "memory");
    let name = desired.name.clone();
    let observed = ObservedRecord::new(jiff::Timestamp::UNIX_EPOCH);
    let state = Arc::new(watched::channel(WorkloadState { desired, observed }).0);
    (name, WorkloadHandle { state, inbox: mpsc::unbounded_channel().0, request: 0 })
}

fn names(registry: &WorkloadRegistry, service: &str) -> Vec<String> {
    registry.of_service(service).iter().map(|handle| handle.read().desired.name).collect()
}

#[test]
fn a_service_has_the_workloads_that_were_inserted_for_it_and_not_removed() {
    let registry = WorkloadRegistry::default();
    for (service, component) in [("shop", "web"), ("shop", "db"), ("blog", "web")] {
        let (name, handle) = handle(service, component);
        registry.insert(name, handle);
    }
    assert_eq!(names(&registry, "shop"), ["shop-db", "shop-web"]);
    assert_eq!(registry.count_of_service("shop", |state| state.desired.name == "shop-db"), 1);
    registry.remove("shop-db");
    assert_eq!(names(&registry, "shop"), ["shop-web"]);
    registry.remove("shop-web");
    assert!(names(&registry, "shop").is_empty() && !registry.any_of_service("shop", |_| true));
    assert_eq!(names(&registry, "blog"), ["blog-web"]);
    registry.clear();
    assert!(registry.all().is_empty() && names(&registry, "blog").is_empty());
}

#[test]
fn a_workload_that_came_to_another_service_is_of_that_one_alone() {
    let registry = WorkloadRegistry::default();
    let (name, handle) = handle("shop", "web");
    registry.insert(name.clone(), handle.clone());
    handle.state.send_modify(|state| state.desired.service = "blog".to_owned());
    registry.insert(name, handle);
    assert!(names(&registry, "shop").is_empty());
    assert_eq!(names(&registry, "blog"), ["shop-web"]);
}
