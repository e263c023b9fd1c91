//! Know one driver, know all: the same files with the same jobs.

use hythe_architecture::{Source, packages, sources, sources_below};

use crate::hold;

/// Files of every driver. A folder of the name serves as well.
const FILES: &[&str] = &[
    "capability",
    "client",
    "config",
    "connect",
    "docs.md",
    "driver",
    "error",
    "lib",
    "lifecycle",
    "observe",
    "translate/mod",
    "translate/observed",
    "translate/tests",
    "watch",
];

/// Files that one driver has no use for, and why.
const WITHOUT: &[(&str, &str, &str)] = &[
    ("memory", "client", "its engine is part of it"),
    ("memory", "translate/observed", "its engine answers in the seam's types"),
    ("memory", "translate/tests", "tests/engine reads each field back"),
];

/// Facets, each with its file: a driver has the file where its runtime has the facet.
const FACETS: &[(&str, &str)] = &[
    ("Archives", "archives"),
    ("Exec", "exec"),
    ("Images", "images"),
    ("Logs", "logs"),
    ("Networks", "networks"),
    ("Snapshots", "snapshots"),
    ("Stats", "stats"),
    ("Volumes", "volumes"),
];

/// What several drivers have, under one name.
const OPTIONAL: &[&str] = &["api_types", "attach", "build", "context", "image_load", "translate"];

/// What one driver alone needs, and why.
const OWN: &[(&str, &[(&str, &str)])] = &[
    (
        "containerd",
        &[
            ("checks", "no engine checks a plan"),
            ("content", "its content store and snapshots"),
            ("init", "the engine brings none"),
            ("seccomp", "the engine compiles profiles itself"),
            ("streams", "a process of ours keeps the streams of tasks"),
            ("record", "what an instance was made as, in its container"),
            ("sweep", "files and leases beside the engine"),
            ("task", "a container and its task are two things"),
        ],
    ),
    (
        "docker",
        &[
            ("discover", "the places where an engine may listen"),
            ("dockerignore", "what of a build's context is sent"),
            ("partial_lines", "lines come in pieces"),
            ("registry", "credentials travel in headers"),
            ("stdcopy", "stdout and stderr share one stream"),
        ],
    ),
    (
        "embedded",
        &[
            ("checks", "no engine checks a plan"),
            ("idmap", "files of subordinate ids"),
            ("name_servers", "no engine names the servers of instances"),
            ("shim", "this program as a shim"),
            ("testing", "no command line to act past the seam"),
            ("userns_exec", "tasks in a user namespace"),
        ],
    ),
    (
        "memory",
        &[
            ("builder", "tests choose what it can do"),
            ("catalogue", "images and a registry in memory"),
            ("console", "output of instances"),
            ("control", "tests make its engine fail"),
            ("dockerfile", "builds images itself"),
            ("engine", "the engine itself"),
            ("files", "file systems in memory"),
            ("instance", "an instance of the engine"),
            ("mounts", "volumes and bound host paths"),
            ("ports", "which instance has which port"),
            ("process", "processes are tasks"),
            ("scheduling", "an engine that takes its time"),
            ("shell", "what processes run"),
        ],
    ),
    (
        "podman",
        &[
            ("cgroup_limits", "`podman update` writes limits down nowhere"),
            ("events_reader", "the stream of events ends when its file is replaced"),
            ("k8s_file", "the format of conmon's log"),
            ("log_output", "an attach that ends would close stdin"),
            ("pidfd", "children are signalled"),
            ("private", "values must not stand in arguments"),
            ("program", "for what the API has no way to do"),
            ("pty", "a child gets a terminal"),
            ("rlimits", "podman raises limits beyond what it may"),
            ("service", "an API service of the agent's own"),
            ("session", "a child is a session"),
            ("start_error", "podman does not report why a start failed"),
            ("stdin", "a pipe has no end but closing it"),
            ("stdin_holder", "conmon closes stdin with any connection"),
            ("tunnel", "podman of another host is reached by ssh"),
            ("workdir", "podman refuses to start without it"),
        ],
    ),
    ("vm", &[("checks", "no engine checks a plan"), ("shim", "this program as the supervisor of a virtual machine")]),
];

fn folders() -> Vec<String> {
    packages().into_iter().filter(hythe_architecture::Package::is_driver).map(|driver| driver.folder).collect()
}

/// The path below `src/`.
fn below(path: &str) -> &str {
    path.split_once("/src/").map_or("", |(_, below)| below)
}

/// The file without its ending, in its folder; the tests of a file count as that file.
fn stem(below: &str) -> &str {
    let stem = below.strip_suffix(".rs").unwrap_or(below);
    stem.strip_suffix("_tests").unwrap_or(stem)
}

fn translation(source: &Source) -> bool {
    source.is_rust() && below(&source.path).starts_with("translate/")
}

/// Of a driver's folder.
fn files(folder: &str) -> Vec<Source> {
    let written = |source: &Source| source.is_rust() || source.name() == "docs.md";
    sources_below(&format!("{folder}/src/")).into_iter().filter(written).collect()
}

#[test]
fn every_driver_has_the_same_files() {
    let mut breaches = Vec::new();
    for folder in folders() {
        let files = files(&folder);
        let there = |file: &&&str| files.iter().any(|source| stem(below(&source.path)) == **file);
        let needless = |file: &&&str| WITHOUT.iter().any(|(driver, name, _)| folder.ends_with(driver) && name == *file);
        let missing = FILES.iter().filter(|file| !there(file) && !needless(file));
        breaches.extend(missing.map(|file| format!("`{folder}` has no {file}")));
    }
    hold("every driver has the same files", &breaches);
}

#[test]
fn what_one_driver_needs_is_listed_with_its_reason() {
    let mut breaches = Vec::new();
    for folder in folders() {
        let driver = folder.rsplit('/').next().unwrap_or_default();
        let own = OWN.iter().find(|(name, _)| *name == driver).map_or([].as_slice(), |(_, own)| own);
        let known = |file: &str| {
            FILES.contains(&file)
                || OPTIONAL.contains(&file)
                || FACETS.iter().any(|(_, known)| *known == file)
                || own.iter().any(|(known, _)| *known == file)
        };
        let mut found: Vec<String> = Vec::new();
        for source in files(&folder) {
            let stem = stem(below(&source.path));
            let file = stem.split('/').next().unwrap_or_default();
            if !known(file) {
                breaches.push(format!("`{}` is in no list", source.path));
            }
            found.push(file.to_owned());
        }
        let gone = own.iter().filter(|(file, _)| !found.iter().any(|there| there == file));
        breaches.extend(gone.map(|(file, _)| format!("`{folder}` has no {file} any more")));
    }
    hold("a file is every driver's, or is listed as one driver's own with the reason", &breaches);
}

#[test]
fn a_facet_is_implemented_by_the_runtime_in_its_file() {
    let mut breaches = Vec::new();
    for folder in folders() {
        let sources = files(&folder);
        let runtime = sources.iter().find_map(|source| implementor(source, "Runtime"));
        for source in &sources {
            let place = below(&source.path).split('/').next().map_or("", stem);
            for (facet, file) in FACETS {
                let Some(who) = implementor(source, facet) else { continue };
                if place != *file || Some(&who) != runtime.as_ref() {
                    breaches.push(format!("`{}` implements {facet} for {who}", source.path));
                }
            }
        }
    }
    hold("a facet is implemented for the runtime itself, in the file of its name", &breaches);
}

/// Who implements the trait in this file.
fn implementor(source: &Source, implemented: &str) -> Option<String> {
    let code = source.code();
    let (_, after) = code.split_once(&format!("impl {implemented} for "))?;
    Some(after.chars().take_while(|letter| letter.is_alphanumeric()).collect())
}

#[test]
fn the_runtime_is_implemented_in_driver_rs() {
    let mut breaches = Vec::new();
    for folder in folders() {
        let implementing = |source: &Source| source.is_rust() && source.code().contains("impl Runtime for");
        let files: Vec<_> = sources_below(&format!("{folder}/src/")).into_iter().filter(implementing).collect();
        let expected = format!("{folder}/src/driver.rs");
        if files.iter().map(|source| &source.path).ne([&expected]) {
            breaches.push(format!("`{folder}`: {:?}", files.iter().map(|source| &source.path).collect::<Vec<_>>()));
        }
    }
    hold("a driver implements `Runtime` once, in driver.rs", &breaches);
}

#[test]
fn a_crate_shows_its_docs() {
    let shown = |folder: &String| {
        let lib = format!("{folder}/src/lib.rs");
        sources().iter().any(|source| source.path == lib && source.text.contains("include_str!(\"docs.md\")"))
    };
    let breaches: Vec<_> = folders().into_iter().filter(|folder| !shown(folder)).collect();
    hold("a driver's docs.md is part of its documentation: `#![doc = include_str!(\"docs.md\")]`", &breaches);
}

#[test]
fn translation_is_pure() {
    let impure = [
        "async ",
        ".await",
        "tokio::",
        "std::fs",
        "std::process",
        "std::net::Tcp",
        "reqwest",
        "SystemTime::now",
        "Timestamp::now",
    ];
    let mut breaches = Vec::new();
    for source in sources_below("drivers/").into_iter().filter(translation) {
        let code = source.code();
        let found = impure.iter().filter(|word| code.contains(*word));
        breaches.extend(found.map(|word| format!("`{}` has `{}`", source.path, word.trim())));
    }
    hold("translation takes values and returns values", &breaches);
}
