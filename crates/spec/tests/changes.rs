//! Fingerprints and differences of services.

use hythe_spec::{ChangeKind, Component, Drift, ImageRef, Restart, Service, diff, fingerprint};

fn component(name: &str) -> Component {
    let image = ImageRef { domain: "docker.io".into(), path: "library/x".into(), tag: Some("1".into()), digest: None };
    Component::new(name, image)
}

fn service(components: Vec<Component>) -> Service {
    let labels = Default::default();
    Service { name: "shop".into(), node: None, labels, active: true, drift: Drift::Report, components }
}

#[test]
fn the_fingerprint_of_defaults_never_changes() {
    // Written down: a change here makes every deployed component look changed.
    let expected = "cc768a9f8805210ada2d7ef39842c32b69414e2f9887872ad54e3ec0c39aa074";
    assert_eq!(fingerprint(&component("web")), expected);
}

#[test]
fn what_a_user_wrote_changes_the_fingerprint() {
    let plain = fingerprint(&component("web"));
    let with = |change: fn(&mut Component)| {
        let mut changed = component("web");
        change(&mut changed);
        fingerprint(&changed)
    };
    let prints = [
        plain,
        with(|web| drop(web.env.insert("EMPTY".into(), String::new()))),
        with(|web| web.entrypoint = Some(Vec::new())),
        with(|web| web.command = Some(Vec::new())),
        with(|web| web.restart = Restart::No),
        with(|web| web.permissions.no_new_privileges = false),
        with(|web| web.resources.pids = Some(1)),
        with(|web| drop(web.labels.insert("a".into(), String::new()))),
    ];
    for (at, print) in prints.iter().enumerate() {
        assert!(!prints[..at].contains(print), "number {at}");
    }
}

#[test]
fn differences_are_named_field_by_field() {
    let old = service(vec![component("web"), component("old")]);
    let mut web = component("web");
    web.env.insert("A".into(), "1".into());
    web.user = Some("1000".into());
    web.image.tag = Some("2".into());
    let new = service(vec![component("new"), web]);
    let changes: Vec<_> = diff(&old, &new).into_iter().map(|change| (change.path, change.kind)).collect();
    let expected = [
        ("components.new", ChangeKind::Added),
        ("components.old", ChangeKind::Removed),
        ("components.web.env.A", ChangeKind::Added),
        ("components.web.image", ChangeKind::Changed),
        ("components.web.user", ChangeKind::Added),
    ];
    assert_eq!(changes, expected.map(|(path, kind)| (path.to_owned(), kind)));
    assert!(diff(&new, &new).is_empty());
}
