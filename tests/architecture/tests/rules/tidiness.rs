//! What a file may not contain, and how long it may be.

use hythe_architecture::{Source, root, sources};

use crate::hold;

/// A file of more lines does more than one thing.
const LONGEST: usize = 400;
/// A suite is a list of cases, which may be longer.
const LONGEST_SUITE: usize = 600;
/// Half of all Rust files are shorter than this.
const LONGEST_MEDIAN: usize = 230;
/// Longer files, each with the reason it is not split.
const LONG: &[(&str, &str)] = &[];

#[test]
fn nothing_is_left_to_do() {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("unimple", "mented!("), concat!("to", "do!(")];
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|source| source.is_written()) {
        let found = words.iter().flat_map(|word| source.lines_with(word));
        breaches.extend(found.map(|line| format!("{}:{line}", source.path)));
    }
    hold("unfinished work is not committed", &breaches);
}

/// The checkout and the home directory differ on every machine.
#[test]
fn no_file_knows_this_host() {
    let home = std::env::var("HOME").unwrap_or_default();
    let places = [root().to_string_lossy().into_owned(), home];
    let telling = |place: &&String| place.matches('/').count() >= 2;
    let mut breaches = Vec::new();
    for source in sources() {
        let found = places.iter().filter(telling).flat_map(|place| source.lines_with(place));
        breaches.extend(found.map(|line| format!("{}:{line}", source.path)));
    }
    hold("no file contains a path of the machine it was written on", &breaches);
}

#[test]
fn a_folder_says_what_it_is_for() {
    let head = |source: &&Source| ["lib.rs", "mod.rs", "main.rs"].contains(&source.name());
    let sources = sources();
    let silent = sources.iter().filter(head).filter(|source| !source.text.starts_with("//! "));
    let breaches: Vec<_> = silent.map(|source| source.path.clone()).collect();
    hold("lib.rs, mod.rs and main.rs begin with what the folder is for", &breaches);
}

#[test]
fn files_are_small() {
    let sources: Vec<_> = sources().into_iter().filter(Source::is_rust).collect();
    let lines = |source: &Source| source.text.lines().count();
    let limit = |source: &Source| {
        let suite = source.path.starts_with("tests/") || source.path.contains("/tests/");
        if suite { LONGEST_SUITE } else { LONGEST }
    };
    let excused = |path: &str| LONG.iter().any(|(long, _)| *long == path);
    let mut breaches = Vec::new();
    for source in &sources {
        match (lines(source) > limit(source), excused(&source.path)) {
            (true, false) => breaches.push(format!("`{}` has {} lines", source.path, lines(source))),
            (false, true) => breaches.push(format!("`{}` needs no excuse any more", source.path)),
            _ => {}
        }
    }
    hold(&format!("a file has at most {LONGEST} lines, a suite {LONGEST_SUITE}"), &breaches);
    let mut all: Vec<_> = sources.iter().map(lines).collect();
    all.sort_unstable();
    let median = all.get(all.len() / 2).copied().unwrap_or_default();
    assert!(median <= LONGEST_MEDIAN, "half of the files have more than {median} lines");
}
