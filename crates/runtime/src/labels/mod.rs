//! What labels of other tools say: what manages an instance, and which Compose service it is. Pure.
//!
//! For: reading the labels that other tools leave on instances. Not for: acting on them, our own labels (see `identity`), or hints
//! for discovery (see `hythe-discovery`).

mod compose;
mod owner;

use std::collections::BTreeMap;

pub use compose::Compose;
pub use owner::{Owner, is_managers};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// The value of the first of these keys that has one.
pub fn first<'a>(labels: &'a Labels, keys: &[&str]) -> Option<&'a str> {
    keys.iter().filter_map(|key| labels.get(*key)).map(|value| value.trim()).find(|value| !value.is_empty())
}

#[cfg(test)]
fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
