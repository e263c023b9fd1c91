//! The manifests: packages and their dependencies, by the name each has in a registry.

use std::collections::BTreeSet;
use std::path::Path;

use toml::Table;

use crate::source::{root, sources};

/// One member of the workspace.
#[derive(Debug, Clone)]
pub struct Package {
    /// Folder below the root: `crates/spec`, `drivers/docker`, `xtask`.
    pub folder: String,
    /// As the manifest names it.
    pub name: String,
    /// What it is built with: dependencies and build dependencies, on every platform, optional ones included.
    pub uses: BTreeSet<String>,
    /// What only its tests are built with.
    pub tests_use: BTreeSet<String>,
}

impl Package {
    /// How rules speak of it: `spec`, `drivers/docker`, `tests/e2e`, `xtask`.
    #[must_use]
    pub fn label(&self) -> &str {
        self.folder.strip_prefix("crates/").unwrap_or(&self.folder)
    }

    /// Whether the package is a driver.
    #[must_use]
    pub fn is_driver(&self) -> bool {
        self.folder.starts_with("drivers/")
    }
}

/// Every member of the workspace, in the order of folders.
///
/// # Panics
/// Where a manifest cannot be read.
#[must_use]
pub fn packages() -> Vec<Package> {
    let manifests = sources().into_iter().filter(|source| source.name() == "Cargo.toml");
    // The fuzzers are a workspace of their own, so that nothing else is built with what they need; the init of guests too.
    let others = ["Cargo.toml", "fuzz/Cargo.toml", "crates/guest/init/Cargo.toml"];
    manifests
        // Stand-ins for packages of others have their names.
        .filter(|source| !others.contains(&&*source.path) && !source.path.starts_with("patches/"))
        .map(|source| package(&source.path, &source.text))
        .collect()
}

/// Names below `[workspace.dependencies]`.
///
/// # Panics
/// Where the manifest of the workspace cannot be read.
#[must_use]
pub fn shared_dependencies() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).unwrap_or_default();
    names(table(&parse("Cargo.toml", &text), &["workspace", "dependencies"]))
}

fn package(path: &str, text: &str) -> Package {
    let manifest = parse(path, text);
    let platforms = table(&manifest, &["target"]).into_iter().flat_map(Table::values).filter_map(toml::Value::as_table);
    let places: Vec<&Table> = std::iter::once(&manifest).chain(platforms).collect();
    let all = |kind| places.iter().flat_map(|place| names(table(place, &[kind]))).collect::<BTreeSet<_>>();
    let name = table(&manifest, &["package"]).and_then(|package| package["name"].as_str());
    Package {
        folder: Path::new(path).parent().unwrap_or(Path::new("")).to_string_lossy().into_owned(),
        name: name.unwrap_or_default().to_owned(),
        uses: all("dependencies").union(&all("build-dependencies")).cloned().collect(),
        tests_use: all("dev-dependencies"),
    }
}

fn parse(path: &str, text: &str) -> Table {
    match text.parse() {
        Ok(table) => table,
        Err(error) => panic!("`{path}` is no manifest: {error}"),
    }
}

fn table<'a>(from: &'a Table, path: &[&str]) -> Option<&'a Table> {
    path.iter().try_fold(from, |table, key| table.get(*key)?.as_table())
}

/// A dependency may have another name here than the package it stands for.
fn names(dependencies: Option<&Table>) -> BTreeSet<String> {
    let named = |(key, value): (&String, &toml::Value)| {
        value.get("package").and_then(toml::Value::as_str).unwrap_or(key).to_owned()
    };
    dependencies.into_iter().flatten().map(named).collect()
}
