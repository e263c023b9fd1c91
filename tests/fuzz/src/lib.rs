//! What hostile input meets first, one function for each kind of it: bytes in, an answer or an error out, never a panic and nothing left behind.
//!
//! For: the fuzzers in `fuzz/`, which search for such bytes, and `tests/replay.rs`, which goes over the corpus with every test run.
//! Not for: what an answer means; the crates' own tests say that.

mod http;
mod images;
mod tar;
mod text;

/// One kind of input.
pub type Target = fn(&[u8]);

/// All of them, by the name of their corpus in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("archive", images::archive),
    ("layer", images::layer),
    ("manifest", images::manifest),
    ("env_file", text::env_file),
    ("service", text::service),
    ("http", http::http),
];

/// Runs one target; an unknown name is a mistake of the caller.
///
/// # Panics
/// There is no such target, or the target has found something.
pub fn run(name: &str, bytes: &[u8]) {
    match TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, target)) => target(bytes),
        None => panic!("there is no target `{name}`"),
    }
}
