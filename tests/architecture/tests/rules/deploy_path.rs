//! ARCHITECTURE.md tells a deploy hop by hop; what it names exists.
//!
//! The fenced block below [`HEADING`] has a line for each file: `N path :: symbol, symbol — words`, or `back path :: …` for the
//! way home. The first symbol is defined in that file, the others are used there. Several lines may share a number.

use hythe_architecture::{Source, sources};

use crate::hold;

const DOCUMENT: &str = "ARCHITECTURE.md";
const HEADING: &str = "## A deploy, end to end";
const BACK: &str = "back";

/// Where each hop lives; a deploy passes all of them in this order.
const HOPS: &[(&str, &str)] = &[
    ("1", "crates/cli/src/main.rs"),
    ("2", "crates/cli/src/commands/deploy"),
    ("3", "crates/client/src/"),
    ("4", "crates/agent/src/routes/"),
    ("5", "crates/controller/src/"),
    ("6", "crates/controller/src/"),
    ("7", "crates/runtime/src/layers/"),
    ("8", "drivers/"),
    ("9", "drivers/"),
];
/// What the way back passes, in this order.
const WAY_BACK: &[&str] =
    &["drivers/", "crates/controller/src/", "crates/store/src/", "crates/agent/src/routes/", "crates/cli/src/"];

/// One line of the block.
#[derive(Debug)]
struct Step<'a> {
    hop: &'a str,
    path: &'a str,
    symbols: Vec<&'a str>,
}

#[test]
fn every_step_of_a_deploy_exists() {
    let sources = sources();
    let document = document(&sources);
    let breaches: Vec<_> = steps(document).iter().flat_map(|step| faults(step, &sources)).collect();
    hold("the deploy path names what exists", &breaches);
}

#[test]
fn a_deploy_has_nine_hops_and_a_way_back() {
    let sources = sources();
    let steps = steps(document(&sources));
    let (back, there): (Vec<_>, Vec<_>) = steps.iter().partition(|step| step.hop == BACK);
    let mut numbers: Vec<_> = there.iter().map(|step| step.hop).collect();
    numbers.dedup();
    let expected: Vec<_> = HOPS.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, expected, "the hops of the deploy path, in order");
    let strays = there
        .iter()
        .filter(|step| !HOPS.iter().any(|(number, place)| *number == step.hop && step.path.starts_with(place)));
    let breaches: Vec<_> = strays.map(|step| format!("hop {} is not in `{}`", step.hop, step.path)).collect();
    hold("every hop is where it belongs", &breaches);
    let mut paths = back.iter().map(|step| step.path);
    let missed: Vec<_> = WAY_BACK
        .iter()
        .filter(|place| !paths.any(|path| path.starts_with(**place)))
        .map(|place| (*place).to_owned())
        .collect();
    hold("the way back passes driver, controller, store, agent and command line in this order", &missed);
}

fn document(sources: &[Source]) -> &str {
    let Some(source) = sources.iter().find(|source| source.path == DOCUMENT) else {
        panic!("`{DOCUMENT}` does not exist; it tells the deploy path under `{HEADING}`");
    };
    &source.text
}

fn steps(document: &str) -> Vec<Step<'_>> {
    let Some((_, section)) = document.split_once(HEADING) else {
        panic!("`{DOCUMENT}` has no section `{HEADING}`");
    };
    let Some(block) = section.split("```").nth(1) else {
        panic!("`{HEADING}` in `{DOCUMENT}` has no fenced block");
    };
    let lines = block.lines().skip(1).map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| step(line).unwrap_or_else(|| panic!("`{line}` is not `N path :: symbol, symbol — words`")))
        .collect()
}

fn step(line: &str) -> Option<Step<'_>> {
    let (place, told) = line.split_once(" :: ")?;
    let (hop, path) = place.split_once(char::is_whitespace)?;
    let symbols: Vec<_> = told.split(" — ").next()?.split(',').map(str::trim).collect();
    let complete = symbols.iter().all(|symbol| !symbol.is_empty());
    complete.then_some(Step { hop, path: path.trim(), symbols })
}

fn faults(step: &Step<'_>, sources: &[Source]) -> Vec<String> {
    let Some(source) = sources.iter().find(|source| source.path == step.path) else {
        return vec![format!("hop {}: `{}` does not exist", step.hop, step.path)];
    };
    let code = source.code();
    let (first, others) = step.symbols.split_first().unwrap_or((&"", &[]));
    let undefined = (!defines(&code, first)).then(|| format!("hop {}: `{}` defines no `{first}`", step.hop, step.path));
    let unused = others.iter().filter(|symbol| !says(&code, symbol));
    let unused = unused.map(|symbol| format!("hop {}: `{}` has no `{symbol}`", step.hop, step.path));
    undefined.into_iter().chain(unused).collect()
}

fn defines(code: &str, symbol: &str) -> bool {
    ["fn", "struct", "enum", "trait", "const", "type"].iter().any(|keyword| says(code, &format!("{keyword} {symbol}")))
}

/// Whether the code has the words, not as a part of longer ones. How lines are broken does not matter.
fn says(code: &str, words: &str) -> bool {
    let code: String = code.split_whitespace().collect::<Vec<_>>().join(" ").replace(" .", ".");
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(words).any(|(at, _)| !code[..at].ends_with(part) && !code[at + words.len()..].starts_with(part))
}
