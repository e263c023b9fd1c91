//! What the agent's configuration says of one Docker endpoint.

use hythe_spec::Millis;
use serde::{Deserialize, Serialize};

/// Configuration of one Docker runtime; everything has a default, unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of the runtime in the agent.
    pub name: String,
    /// `unix:///path`, an absolute path, or `tcp://host:port`; absent: the usual places are searched.
    /// A host named here is the only one tried.
    pub host: Option<String>,
    /// Whether a search goes on to the usual sockets when `DOCKER_HOST` or the docker context does not answer; it then says so.
    pub fall_through: bool,
    /// Plans that ask for every right of the host are honoured.
    pub allow_privileged: bool,
    /// Longest wait for a connection and for the first answer on it, in milliseconds.
    pub connect_timeout: Millis,
    /// Registries (`host[:port]`) that are asked over plain http for the digest of a tag; loopback ones always are.
    pub insecure_registries: Vec<String>,
    /// Size in bytes at which the engine begins another log file of an instance (dockerd only).
    pub log_file_bytes: u64,
    /// Log files kept of an instance, the one being written included (dockerd only).
    pub log_files: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "docker".to_owned(),
            host: None,
            fall_through: true,
            allow_privileged: false,
            connect_timeout: Millis(5_000),
            insecure_registries: Vec::new(),
            log_file_bytes: 64 << 20,
            log_files: 3,
        }
    }
}
