//! How images are built.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What network the commands of a build have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BuildNetwork {
    /// One of its own, with a route out where the runtime has that.
    #[default]
    Default,
    /// The host's.
    Host,
    /// None but a loopback.
    None,
}

impl BuildNetwork {
    /// Every one, with its word.
    pub const ALL: [(Self, &'static str); 3] = [(Self::Default, "default"), (Self::Host, "host"), (Self::None, "none")];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Host => "host",
            Self::None => "none",
        }
    }
}

impl fmt::Display for BuildNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for BuildNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|(_, word)| *word == text).map(|(network, _)| network);
        found.ok_or_else(|| format!("`{text}` is no network of a build; there are default, host, none"))
    }
}
