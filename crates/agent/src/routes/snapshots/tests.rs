#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hythe_runtime::{Identity, Snapshot as Found};

use super::*;

#[test]
fn what_a_snapshot_is_of_is_reported_in_the_words_of_services() {
    let identity = Identity {
        owner: "agent".to_owned(),
        service: "shop".to_owned(),
        component: "web".to_owned(),
        generation: 3,
        attempt: 2,
        plan_hash: "h".to_owned(),
    };
    let name = "localhost/hythe/shop/web:1".to_owned();
    let snapshot = Found { name, id: "sha256:0".to_owned(), identity, size: 7, created: None };
    let detail = SnapshotDetail {
        snapshot: snapshot_of(SnapshotOn { runtime: "podman".to_owned(), snapshot }),
        mounts: Vec::new(),
        problem: None,
    };
    let wire = serde_json::to_value(detail).unwrap();
    let expected = serde_json::json!({
        "name": "localhost/hythe/shop/web:1", "service": "shop", "component": "web", "workload": "shop-web", "runtime": "podman",
        "id": "sha256:0", "size": 7, "created": null, "generation": 3, "attempt": 2, "mounts": [], "problem": null,
    });
    assert_eq!(wire, expected);
}
