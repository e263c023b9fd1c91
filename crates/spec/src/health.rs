//! Health probes, run by the agent on every runtime with one meaning.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Millis;

/// How the agent finds out whether a running component works.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// What is tried.
    pub probe: Probe,
    /// Time between the end of one try and the next; default 10 s.
    pub interval: Millis,
    /// Time after which one try has failed; default 5 s.
    pub timeout: Millis,
    /// Failures in a row that make it unhealthy; default 3.
    pub retries: u32,
    /// Time after start in which failures do not count; default 0.
    pub start_period: Millis,
    /// What happens once it is unhealthy.
    pub on_failure: OnFailure,
}

/// One kind of try.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Probe {
    /// An HTTP GET that must answer with status 200 to 399.
    Http {
        /// Port inside the workload.
        port: u16,
        /// Path with its leading slash.
        path: String,
    },
    /// A TCP connection that must be accepted.
    Tcp {
        /// Port inside the workload.
        port: u16,
    },
    /// A command inside the workload that must exit with 0.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
}

/// What happens to an unhealthy component.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// It is reported.
    #[default]
    None,
    /// It is restarted.
    Restart,
}
