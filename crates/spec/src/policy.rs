//! When the image of a component is fetched.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When the image of a component is fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    /// Where the runtime does not have it.
    #[default]
    Missing,
    /// At each deploy; an image that differs from the running one's replaces the instance.
    Always,
    /// Never: the runtime must have it.
    Never,
    /// As `missing`, and the image must be named with its digest.
    Digest,
}

impl PullPolicy {
    /// Every policy by the word used in files.
    pub const WORDS: [(&str, Self); 4] =
        [("missing", Self::Missing), ("always", Self::Always), ("never", Self::Never), ("digest", Self::Digest)];

    /// The word used in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Always => "always",
            Self::Never => "never",
            Self::Digest => "digest",
        }
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
