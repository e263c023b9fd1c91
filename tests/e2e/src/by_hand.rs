//! What somebody does to an engine by hand: the words of its program, and what came of them.

use std::collections::BTreeMap;

/// What a program would print, or why it failed.
pub(crate) type Outcome = Result<String, String>;

pub(crate) fn done(outcome: hythe_runtime::Result<()>) -> Outcome {
    outcome.map(|()| String::new()).map_err(|error| error.to_string())
}

/// The words that are no options, and the values of options that are named.
pub(crate) fn sorted<'a>(words: &[&'a str], with_value: &[&str]) -> (Vec<&'a str>, Vec<(&'a str, &'a str)>) {
    let (mut plain, mut options) = (Vec::new(), Vec::new());
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        match word.split_once('=') {
            _ if with_value.contains(&word) => options.push((word, words.next().unwrap())),
            Some((name, value)) if name.starts_with("--") => options.push((name, value)),
            _ if word.starts_with('-') => {}
            _ => plain.push(word),
        }
    }
    (plain, options)
}

/// The values of an option that are `name=value`.
pub(crate) fn pairs(options: &[(&str, &str)], wanted: &str) -> BTreeMap<String, String> {
    let found = options.iter().filter(|(name, _)| *name == wanted).filter_map(|(_, value)| value.split_once('='));
    found.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
