//! What an agent's configuration says of containerd.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hythe_spec::ByteSize;
use serde::{Deserialize, Serialize};

/// containerd; every field has a default, an unknown field is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name in the agent; default `containerd`.
    pub name: String,
    /// Where containerd listens; default `/run/containerd/containerd.sock`.
    pub socket: PathBuf,
    /// The namespace in which everything is; default `hythe`.
    pub namespace: String,
    /// Who keeps the file systems; default `overlayfs`.
    pub snapshotter: String,
    /// Who runs tasks; default `io.containerd.runc.v2`.
    pub runtime_class: String,
    /// Directory with logs and files of instances, and with named volumes; default (empty): `containerd` in the agent's state directory.
    pub root: PathBuf,
    /// Program that is started as the supervisor of a task's streams with `shim`; default: this program itself.
    pub shim: Option<PathBuf>,
    /// Statically linked program that becomes pid 1 where `init` is asked for, with the command after `--`; default: `catatonit`, `docker-init` or `tini` of the host.
    pub init: Option<PathBuf>,
    /// Whether a plan may be privileged; default no.
    pub allow_privileged: bool,
    /// Size at which a segment of an instance's log ends, in bytes; default 16 MiB. Five segments are kept.
    pub log_max_size: ByteSize,
    /// Registries (`host[:port]`) spoken to over TLS without a check of the certificate, or over plain http; loopback ones always are. Default none.
    pub insecure_registries: Vec<String>,
    /// Registries (`host[:port]`) that are asked before another, by that one's host. Default none.
    pub registry_mirrors: BTreeMap<String, Vec<String>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "containerd".to_owned(),
            socket: PathBuf::from("/run/containerd/containerd.sock"),
            namespace: "hythe".to_owned(),
            snapshotter: "overlayfs".to_owned(),
            runtime_class: "io.containerd.runc.v2".to_owned(),
            root: PathBuf::new(),
            shim: None,
            init: None,
            allow_privileged: false,
            log_max_size: ByteSize(16 << 20),
            insecure_registries: Vec::new(),
            registry_mirrors: BTreeMap::new(),
        }
    }
}
