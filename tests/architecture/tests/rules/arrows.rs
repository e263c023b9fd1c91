//! Who may know whom: dependencies between our own packages point one way.

use hythe_architecture::{Package, packages};

use crate::hold;

/// A package and what it may depend on; `drivers/*` stands for every driver.
const ARROWS: &[(&str, &[&str])] = &[
    ("host", &[]),
    ("spec", &[]),
    ("runtime", &["host", "spec"]),
    ("store", &["host", "spec"]),
    // `runtime` for the kinds of errors, which drivers hand on.
    ("oci", &["host", "runtime", "spec"]),
    ("oci-spec", &["runtime", "spec"]),
    ("shim", &["host"]),
    // `shim` for the link and the subnet by which an unprivileged user's packets leave.
    ("network", &["host", "runtime", "shim", "spec"]),
    // The init in it is a workspace of its own, for the guest.
    ("guest", &[]),
    ("local", &["network", "oci", "oci-spec", "runtime", "shim", "spec"]),
    ("api", &["spec"]),
    ("client", &["api", "spec"]),
    ("controller", &["runtime", "store", "spec"]),
    ("discovery", &["runtime", "spec"]),
    ("agent", &["host", "api", "spec", "controller", "discovery", "runtime", "store", "oci", "drivers/*"]),
    // `oci` for what is done with images without any agent.
    ("cli", &["host", "client", "api", "spec", "agent", "oci"]),
    ("drivers/*", &["host", "runtime", "oci", "oci-spec", "guest", "local", "network", "shim", "spec"]),
    // `oci` for archives of images to be loaded, `network` for whether plugins are there, `traces` for the unprivileged users that it has.
    ("tests/conformance", &["runtime", "spec", "oci", "network", "drivers/*", "tests/host-leaks"]),
    // The embedded runtime has no program of its own by which its trials could act behind the agent's back.
    ("tests/e2e", &["client", "api", "spec", "runtime", "drivers/*", "tests/host-leaks"]),
    ("tests/fuzz", &["oci", "spec", "api", "client"]),
    ("tests/host-leaks", &[]),
    ("tests/architecture", &["api"]),
    ("xtask", &["tests/host-leaks"]),
];

/// What only tests may use. Drivers prove themselves with the common suite, and that they leave nothing on the host;
/// what is above the seam is tested on the in-process runtime.
const ARROWS_OF_TESTS: &[(&str, &[&str])] = &[
    ("drivers/*", &["tests/conformance", "tests/host-leaks"]),
    ("controller", &["drivers/memory"]),
    ("discovery", &["drivers/memory"]),
];

#[test]
fn dependencies_point_one_way() {
    let packages = packages();
    let mut breaches = Vec::new();
    for package in &packages {
        let Some(allowed) = row(ARROWS, package) else {
            breaches.push(format!("`{}` has no row in the table of arrows", package.folder));
            continue;
        };
        let of_tests = row(ARROWS_OF_TESTS, package).unwrap_or_default();
        for other in known(&packages, package.uses.iter()) {
            if !allows(allowed, other) {
                breaches.push(format!("{} -> {}", package.label(), other.label()));
            }
        }
        for other in known(&packages, package.tests_use.iter()) {
            if !allows(allowed, other) && !allows(of_tests, other) {
                breaches.push(format!("tests of {} -> {}", package.label(), other.label()));
            }
        }
    }
    hold("dependencies point one way", &breaches);
}

#[test]
fn every_package_is_called_after_its_folder() {
    let expected = |package: &Package| match package.folder.split_once('/') {
        Some(("drivers", name)) => format!("hythe-driver-{name}"),
        Some((_, name)) => format!("hythe-{name}"),
        None => package.folder.clone(),
    };
    let packages = packages();
    let other = packages.iter().filter(|package| package.name != expected(package));
    let breaches: Vec<_> = other.map(|package| format!("`{}` is called `{}`", package.folder, package.name)).collect();
    hold("a package is called after its folder", &breaches);
}

/// The client, the wire and the words of a service stay free of what only a daemon or a driver needs.
#[test]
fn what_is_pure_brings_no_machinery() {
    let pure = [
        ("spec", ["tokio", "hyper", "axum", "reqwest", "futures", "async", "rustix"].as_slice()),
        ("api", &["tokio", "hyper", "axum", "reqwest", "futures", "async", "rustix"]),
        ("client", &["axum", "rusqlite", "tracing"]),
    ];
    let mut breaches = Vec::new();
    for package in packages() {
        let banned = pure.iter().find(|(name, _)| *name == package.label()).map_or([].as_slice(), |(_, banned)| banned);
        let found = package.uses.iter().filter(|used| banned.iter().any(|name| used.starts_with(name)));
        breaches.extend(found.map(|used| format!("{} -> {used}", package.label())));
    }
    hold("spec and api do no input or output, the client serves and stores nothing", &breaches);
}

type Row = (&'static str, &'static [&'static str]);

fn row(table: &[Row], package: &Package) -> Option<&'static [&'static str]> {
    table.iter().find(|(name, _)| matches(name, package)).map(|(_, allowed)| *allowed)
}

fn allows(allowed: &[&str], other: &Package) -> bool {
    allowed.iter().any(|name| matches(name, other))
}

fn matches(name: &str, package: &Package) -> bool {
    name == package.label() || (name == "drivers/*" && package.is_driver())
}

fn known<'a>(packages: &'a [Package], names: impl Iterator<Item = &'a String>) -> impl Iterator<Item = &'a Package> {
    names.filter_map(|name| packages.iter().find(|package| package.name == *name))
}
