//! Health probes, run by the agent on every runtime with one meaning.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Millis, ParseError};

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
    /// Time between tries in the start period until one succeeds; absent: `interval`, and 250 ms where that is longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<Millis>,
    /// What happens once it is unhealthy.
    pub on_failure: OnFailure,
}

/// One kind of try.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Probe {
    /// An HTTP GET.
    Http(HttpProbe),
    /// The gRPC health checking protocol without TLS: `grpc.health.v1.Health/Check` must answer `SERVING`.
    Grpc {
        /// Port inside the workload.
        port: u16,
        /// Service that is asked for; absent: the server as a whole.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
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

/// An HTTP GET and the answer it must have. A redirect is not followed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct HttpProbe {
    /// Port inside the workload.
    pub port: u16,
    /// Path with its leading slash.
    pub path: String,
    /// It is asked by TLS; absent: without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Name that a verified certificate must be for, also sent as `Host`; absent: the component's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Headers sent along; names are lower case.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Statuses that are a success; empty: 200 to 399.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<Statuses>,
    /// Text that must be within the first 64 KiB of the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

impl HttpProbe {
    /// One that says no more than where to ask.
    pub fn new(port: u16, path: String) -> Self {
        let (headers, status) = (BTreeMap::new(), Vec::new());
        Self { port, path, tls: None, server_name: None, headers, status, body: None }
    }
}

/// How the certificate of a TLS server is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// It must come from an authority that the host trusts.
    Verified,
    /// Any certificate will do.
    Insecure,
}

/// One HTTP status or a range of them: `200`, `200-299`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Statuses {
    /// The first of them.
    pub first: u16,
    /// The last of them, not less than the first.
    pub last: u16,
}

impl Statuses {
    /// Whether this status is one of them.
    pub const fn contains(self, status: u16) -> bool {
        self.first <= status && status <= self.last
    }
}

impl FromStr for Statuses {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let status = |text: &str| text.trim().parse().ok().filter(|status| (100..=599).contains(status));
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(ParseError::new(format!("`{text}` is not an HTTP status"))
                .hint("write a status from 100 to 599, or a range: `200`, `\"200-299\"`")),
        }
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl TryFrom<String> for Statuses {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Statuses> for String {
    fn from(statuses: Statuses) -> Self {
        statuses.to_string()
    }
}

/// Why a header cannot be sent with a probe.
pub(crate) fn unfit_header(name: &str, value: &str) -> Option<&'static str> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_token) {
        return Some("is not the name of a header");
    }
    if matches!(name.to_ascii_lowercase().as_str(), "connection" | "content-length" | "transfer-encoding" | "upgrade") {
        return Some("is a header that the check sets itself");
    }
    let unfit = |c: char| !(c == '\t' || c == ' ' || c.is_ascii_graphic());
    value.contains(unfit).then_some("has a value that no header can carry")
}

/// The first character that no request line can carry.
pub(crate) fn unfit(path: &str) -> Option<char> {
    path.chars().find(|c| !c.is_ascii_graphic())
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
