//! What a component waits for of another one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far a dependency must have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// Its process runs.
    #[default]
    Started,
    /// Its health probe succeeds.
    Healthy,
    /// It ended with exit code 0.
    Completed,
}

impl Condition {
    /// The word used in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Healthy => "healthy",
            Self::Completed => "completed",
        }
    }
}

/// A component of the same service that comes first. Written as its condition alone where it says no more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Written", into = "Written")]
pub struct Dependency {
    /// How far it must have come.
    pub condition: Condition,
    /// Whoever depends on it is restarted after a request restarted or replaced it; a restart after a crash is none.
    pub restart: bool,
}

impl From<Condition> for Dependency {
    fn from(condition: Condition) -> Self {
        Self { condition, restart: false }
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Written {
    Condition(Condition),
    Full {
        #[serde(default)]
        condition: Condition,
        #[serde(default)]
        restart: bool,
    },
}

impl From<Written> for Dependency {
    fn from(written: Written) -> Self {
        match written {
            Written::Condition(condition) => condition.into(),
            Written::Full { condition, restart } => Self { condition, restart },
        }
    }
}

impl From<Dependency> for Written {
    fn from(Dependency { condition, restart }: Dependency) -> Self {
        if restart { Self::Full { condition, restart } } else { Self::Condition(condition) }
    }
}
