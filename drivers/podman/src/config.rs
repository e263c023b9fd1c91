//! What an agent's configuration says of one podman.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hythe_spec::{ByteSize, Millis};
use serde::{Deserialize, Serialize};

/// One configured podman; every field has a default, an unknown field is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name in the agent; default `podman`.
    pub name: String,
    /// Program to run, looked up in `PATH` unless it is a path; default `podman`.
    pub program: PathBuf,
    /// Socket of a podman service that is used instead of one of the agent's own; default none. `unix:///path` must be of the same
    /// user and store as the program; `ssh://[user@]host[:port]/path` is reached by OpenSSH's client.
    pub socket: Option<String>,
    /// Private key for a socket behind ssh; default: those that ssh finds by itself.
    pub identity: Option<PathBuf>,
    /// Name of a connection of `podman system connection list`, instead of `socket` and `identity`; default none.
    pub connection: Option<String>,
    /// Environment for the program, over the agent's own: `CONTAINERS_CONF`, `CONTAINER_HOST`, …
    pub env: BTreeMap<String, String>,
    /// Whether a plan may be privileged; default no.
    pub allow_privileged: bool,
    /// Size at which an instance's log starts anew, in bytes; default 64 MiB. Lines written before that are gone.
    pub log_max_size: ByteSize,
    /// Registries (`host[:port]`) spoken to over plain http, or https nobody can verify; loopback ones always are. Default none.
    pub insecure_registries: Vec<String>,
    /// How long connecting may take, and a probe at most 10 s of it; default 30 s, since `podman info` asks the package manager.
    pub connect_timeout: Millis,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "podman".to_owned(),
            program: PathBuf::from("podman"),
            socket: None,
            identity: None,
            connection: None,
            env: BTreeMap::new(),
            allow_privileged: false,
            log_max_size: ByteSize(64 << 20),
            insecure_registries: Vec::new(),
            connect_timeout: Millis(30_000),
        }
    }
}
