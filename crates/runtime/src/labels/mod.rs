//! What labels say beyond our own identity: who owns an instance, what it is called, what its makers hint at. Pure.
//!
//! For: reading the labels that other tools leave on instances. Not for: acting on them, or for our own labels (see `identity`).

mod compose;
mod hints;
mod name;
mod owner;

use std::collections::BTreeMap;

pub use compose::Compose;
pub use hints::{HealthHint, HealthKind, Hints, service_type};
pub use name::display_name;
pub use owner::{Owner, is_keepers};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// The value of the first of these keys that has one.
fn first<'a>(labels: &'a Labels, keys: &[&str]) -> Option<&'a str> {
    keys.iter().filter_map(|key| labels.get(*key)).map(|value| value.trim()).find(|value| !value.is_empty())
}

#[cfg(test)]
fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
