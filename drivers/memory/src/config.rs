//! What the agent's configuration says of an in-process runtime.

use serde::{Deserialize, Serialize};

/// An in-process runtime; every field has a default, an unknown field is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name in the agent; default `memory`.
    pub name: String,
    /// Images that it has from the start, each with the content of the test image. Default none.
    pub images: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { name: "memory".to_owned(), images: Vec::new() }
    }
}
