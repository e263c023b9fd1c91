//! What a user reads is never Rust's debug output.

use hythe_architecture::{Source, sources};

use crate::hold;

/// Lines that format with `Debug` and are no messages, each with the reason.
const NO_MESSAGES: &[(&str, &str)] = &[
    ("crates/oci/src/unpack/fuzz", "what a fuzzer says to whoever runs it"),
    ("drivers/memory/src/catalogue.rs", "what an id is the digest of"),
    ("crates/shim/src/library_words.rs", "a displayed value comes as `Debug`; debug text is cut from it"),
    ("crates/shim/src/files.rs", "a part of a file's name"),
    ("crates/network/src/firewall/rules.rs", "what is hashed"),
];

#[test]
fn no_message_is_formatted_with_debug() {
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|source| is_shipped(source)) {
        let excused = NO_MESSAGES.iter().any(|(path, _)| source.path.starts_with(path));
        let lines = source.text.lines().zip(1..).take_while(|(line, _)| !line.starts_with("mod tests"));
        let found = lines.filter(|(line, _)| !line.trim_start().starts_with("//") && formats_with_debug(line));
        breaches.extend(found.filter(|_| !excused).map(|(_, line)| format!("{}:{line}", source.path)));
    }
    hold("a message is written with `Display`", &breaches);
}

fn is_shipped(source: &Source) -> bool {
    let of_the_program = source.path.starts_with("crates/") || source.path.starts_with("drivers/");
    let is_test =
        source.path.contains("/tests/") || source.name() == "tests.rs" || source.name().ends_with("_tests.rs");
    of_the_program && source.is_rust() && source.path.contains("/src/") && !is_test
}

/// `{:?}`, `{name:?}`, `{:#?}` and the like.
fn formats_with_debug(line: &str) -> bool {
    let before = |at: usize| line[..at].rfind('{').is_some_and(|open| is_name(&line[open + 1..at]));
    [":?}", ":#?}"].iter().any(|shape| line.match_indices(shape).any(|(at, _)| before(at)))
}

fn is_name(text: &str) -> bool {
    text.chars().all(|character| character.is_alphanumeric() || matches!(character, '_' | '.'))
}

#[test]
fn shapes_are_recognised() {
    let formatted = ["{:?}", "is {state:?}", "{0:?}", "{:#?}"];
    assert!(formatted.iter().all(|line| formats_with_debug(line)));
    assert!(!formats_with_debug("is {state}") && !formats_with_debug("a ?} b"));
}
