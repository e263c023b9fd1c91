//! The modules of the controller: each uses those below it, and no arrow points back up.

use std::collections::{BTreeMap, BTreeSet};

use hythe_architecture::{Source, sources_below};

use crate::hold;

const ROOT: &str = "crates/controller/src/";

/// The modules, lowest first: each may use those before it. A part of a module that others use has a row of its own.
const LAYERS: &[&str] = &[
    // Values and pure decisions.
    "error",
    "policy",
    "starts",
    "files",
    "privileged",
    "model",
    "lifecycle/follow",
    "lifecycle/step",
    "lifecycle/record",
    "lifecycle/on_failure",
    "lifecycle/reload",
    "lifecycle/refresh",
    "lifecycle/ahead",
    "lifecycle/on_exit",
    "lifecycle/on_event",
    "lifecycle/health",
    "lifecycle/on_error",
    "lifecycle/apply",
    "lifecycle/request",
    "lifecycle/steady",
    "lifecycle/leave",
    "lifecycle/plan_step",
    "lifecycle",
    // What is shared by all tasks, each a thing of its own.
    "lookup",
    "runtimes",
    "placement",
    "event",
    "operation",
    "snapshots/naming",
    "message",
    "registry",
    "waves",
    "action",
    "secrets/files",
    "gc/decide",
    "gc/observations",
    "settings",
    // The controller, then one concern after the other.
    "controller",
    "crash",
    "degraded",
    "images",
    "secrets",
    "snapshots",
    "health",
    "follow",
    "generation",
    "worker",
    "adopt_from_labels",
    "outcome",
    "restore",
    "deploy",
    "service",
    "removal",
    "purge",
    "kill",
    "adopt",
    "drift",
    "gc",
    "watch",
    "start",
];

/// On their way out of the controller: whatever they use, or whoever uses them.
const LEAVING: &[&str] = &["alerts", "instances"];

#[test]
fn no_arrow_points_up() {
    let sources = modules();
    let known: BTreeSet<String> = sources.iter().map(|source| module(&source.path).join("/")).collect();
    let reexports = reexports();
    let mut breaches = Vec::new();
    for source in &sources {
        let own = module(&source.path);
        let Some(from) = layer(&own) else {
            breaches.push(format!("`{}` has no row in the table of layers", own.join("/")));
            continue;
        };
        for used in used(source, &own, &known, &reexports) {
            match layer(&used) {
                Some(to) if to > from => breaches.push(format!("{} -> {}", own.join("/"), used.join("/"))),
                Some(_) => {}
                None => breaches.push(format!("{} -> {}, which has no row", own.join("/"), used.join("/"))),
            }
        }
    }
    breaches.sort();
    breaches.dedup();
    hold("a module of the controller uses those below it", &breaches);
}

#[test]
fn every_layer_is_there() {
    let known: BTreeSet<String> = modules().iter().map(|source| module(&source.path).join("/")).collect();
    let breaches: Vec<_> =
        LAYERS.iter().filter(|layer| !known.contains(**layer)).map(|layer| (*layer).to_owned()).collect();
    hold("the table of layers names modules that exist", &breaches);
}

/// Files of the controller that are shipped, without its root.
fn modules() -> Vec<Source> {
    let is_test = |source: &Source| source.path.contains("/tests/") || source.name().ends_with("tests.rs");
    let is_leaving = |source: &Source| LEAVING.contains(&module(&source.path)[0].as_str());
    let sources = sources_below(ROOT).into_iter().filter(|source| source.is_rust() && source.name() != "lib.rs");
    sources.filter(|source| !is_test(source) && !is_leaving(source)).collect()
}

/// `crates/controller/src/drift/inspect.rs` is `drift`, `inspect`.
fn module(path: &str) -> Vec<String> {
    let path = path.strip_prefix(ROOT).unwrap_or(path);
    let path = path.strip_suffix("/mod.rs").or_else(|| path.strip_suffix(".rs")).unwrap_or(path);
    path.split('/').map(str::to_owned).collect()
}

/// The row of a module: the longest that it is, or is in.
fn layer(module: &[String]) -> Option<usize> {
    let rows = (1..=module.len()).rev().map(|length| module[..length].join("/"));
    rows.filter_map(|name| LAYERS.iter().position(|layer| *layer == name)).next()
}

/// What the root re-exports, by name, and the module that has it.
fn reexports() -> BTreeMap<String, Vec<String>> {
    let root = sources_below(&format!("{ROOT}lib.rs")).into_iter().next();
    let code = root.map(|source| source.code()).unwrap_or_default();
    let uses = code.split("use ").skip(1).filter_map(|rest| rest.split(';').next());
    let paths = uses.flat_map(paths);
    paths.filter_map(|path| Some((path.last()?.clone(), path[..path.len() - 1].to_vec()))).collect()
}

/// Modules that a file names by `crate::…` or `super::…`.
fn used(
    source: &Source,
    own: &[String],
    known: &BTreeSet<String>,
    reexports: &BTreeMap<String, Vec<String>>,
) -> Vec<Vec<String>> {
    let code = source.code();
    let code = code.split("\nmod tests {").next().unwrap_or_default();
    let mut found = Vec::new();
    for (keyword, above) in [("crate::", own.len()), ("super::", 1), ("super::super::", 2)] {
        for (at, _) in code.match_indices(keyword) {
            let before = code[..at].chars().next_back();
            let is_word = before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':'));
            let rest = &code[at + keyword.len()..];
            if is_word || rest.starts_with("super::") {
                continue;
            }
            let base = &own[..own.len().saturating_sub(above)];
            found.extend(paths(rest).into_iter().map(|path| base.iter().cloned().chain(path).collect::<Vec<_>>()));
        }
    }
    found
        .into_iter()
        .filter_map(|path| resolved(path, known, reexports))
        .filter(|used| !LEAVING.contains(&used[0].as_str()))
        .collect()
}

/// The longest beginning of a path that is a module.
fn resolved(
    path: Vec<String>,
    known: &BTreeSet<String>,
    reexports: &BTreeMap<String, Vec<String>>,
) -> Option<Vec<String>> {
    let path = match reexports.get(path.first()?) {
        Some(home) if !known.contains(&path[0]) => home.clone(),
        _ => path,
    };
    (1..=path.len())
        .rev()
        .map(|length| &path[..length])
        .find(|begin| known.contains(&begin.join("/")))
        .map(<[_]>::to_vec)
}

/// `a::{b, c::{d, e}}` is `a::b`, `a::c::d`, `a::c::e`; what follows the tree is left alone.
fn paths(tree: &str) -> Vec<Vec<String>> {
    parse(tree.trim_start()).0
}

/// The paths of one tree, and what follows it.
fn parse(tree: &str) -> (Vec<Vec<String>>, &str) {
    if let Some(mut rest) = tree.strip_prefix('{') {
        let mut all = Vec::new();
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return (all, after);
            }
            let (found, after) = parse(rest);
            if after.len() == rest.len() {
                return (all, after);
            }
            all.extend(found);
            rest = after.trim_start().trim_start_matches(',');
        }
    }
    let end = tree.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(tree.len());
    let (name, rest) = tree.split_at(end);
    if name.is_empty() {
        return (Vec::new(), rest);
    }
    let Some(below) = rest.strip_prefix("::") else {
        return (vec![vec![name.to_owned()]], after_alias(rest));
    };
    let (found, rest) = parse(below);
    let found = if found.is_empty() { vec![Vec::new()] } else { found };
    (found.into_iter().map(|path| std::iter::once(name.to_owned()).chain(path).collect()).collect(), rest)
}

/// Past ` as name`.
fn after_alias(rest: &str) -> &str {
    let Some(alias) = rest.trim_start().strip_prefix("as ") else { return rest };
    alias.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_')
}

#[test]
fn use_trees_are_read() {
    let read = |tree: &str| paths(tree).into_iter().map(|path| path.join("::")).collect::<Vec<_>>();
    assert_eq!(read("a::b;"), ["a::b"]);
    assert_eq!(read("{a::{self, b}, c as d, e};"), ["a::self", "a::b", "c", "e"]);
    assert_eq!(read("a::B::new(x)"), ["a::B::new"]);
}
