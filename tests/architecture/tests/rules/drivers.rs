//! Know one driver, know all: the same files with the same jobs.

use hythe_architecture::{Source, packages, sources, sources_below};

use crate::hold;

const FILES: &[&str] = &["lib.rs", "config.rs", "driver.rs", "client.rs", "error.rs", "docs.md"];

fn folders() -> Vec<String> {
    packages().into_iter().filter(hythe_architecture::Package::is_driver).map(|driver| driver.folder).collect()
}

fn translation(source: &Source) -> bool {
    let below = source.path.split_once("/src/").map_or("", |(_, below)| below);
    source.is_rust() && (below == "translate.rs" || below.starts_with("translate/"))
}

#[test]
fn every_driver_has_the_same_files() {
    let paths: Vec<_> = sources_below("drivers/").into_iter().map(|source| source.path).collect();
    let there = |path: &str| paths.iter().any(|known| known == path);
    let mut breaches = Vec::new();
    for folder in folders() {
        let missing = FILES.iter().map(|file| format!("{folder}/src/{file}")).filter(|path| !there(path));
        breaches.extend(missing);
        let translate = format!("{folder}/src/translate");
        if !there(&format!("{translate}.rs")) && !there(&format!("{translate}/mod.rs")) {
            breaches.push(format!("{translate}.rs"));
        }
    }
    hold("every driver has lib, config, driver, client, translate, error and docs", &breaches);
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
