//! Whoever speaks to an engine, a database, a network or a terminal does so alone.

use hythe_architecture::{packages, shared_dependencies};

use crate::hold;

/// A library and the one package that may be built with it; tests may use it as a witness.
const OWNERS: &[(&str, &str)] = &[
    ("axum", "agent"),
    ("bollard", "drivers/docker"),
    ("clap", "cli"),
    ("clap_complete", "cli"),
    ("containerd-client", "drivers/containerd"),
    ("hyper-rustls", "agent"),
    ("kube", "drivers/kubernetes"),
    ("libcontainer", "shim"),
    ("netlink-packet-netfilter", "network"),
    ("netlink-packet-route", "network"),
    ("oci-client", "oci"),
    ("reqwest", "oci"),
    ("rusqlite", "store"),
    ("tokio-tungstenite", "client"),
];

#[test]
fn a_native_client_has_one_owner() {
    let mut breaches = Vec::new();
    for package in packages() {
        let stray =
            OWNERS.iter().filter(|(library, owner)| package.uses.contains(*library) && *owner != package.label());
        breaches.extend(
            stray.map(|(library, owner)| format!("{} -> {library}, which belongs to {owner}", package.label())),
        );
    }
    hold("a native client is a dependency of one package", &breaches);
}

#[test]
fn every_shared_dependency_is_used() {
    let packages = packages();
    let used =
        |name: &String| packages.iter().any(|package| package.uses.contains(name) || package.tests_use.contains(name));
    let ours = |name: &String| packages.iter().any(|package| package.name == *name);
    let idle = shared_dependencies().into_iter().filter(|name| !used(name) && !ours(name));
    let breaches: Vec<_> = idle.map(|name| format!("`{name}` in [workspace.dependencies]")).collect();
    hold("a dependency of the workspace is used by a member", &breaches);
}
