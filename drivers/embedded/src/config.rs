//! What an agent's configuration says of the embedded runtime.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hythe_spec::ByteSize;
use serde::{Deserialize, Serialize};

/// Who makes bridge networks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkBy {
    /// The runtime itself.
    #[default]
    Native,
    /// Plugins of the Container Network Interface.
    Cni,
}

/// The embedded runtime; every field has a default, an unknown field is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name in the agent; default `embedded`.
    pub name: String,
    /// Directory with images, instances, volumes and networks; default (empty): `embedded` in the agent's state directory.
    pub root: PathBuf,
    /// Program that is started as the shim with `shim`; default: this program itself.
    pub shim: Option<PathBuf>,
    /// Whether a plan may be privileged; default no.
    pub allow_privileged: bool,
    /// Size at which a segment of an instance's log ends, in bytes; default 16 MiB. Five segments are kept.
    pub log_max_size: ByteSize,
    /// Who makes bridge networks from now on; default `native`.
    pub network: NetworkBy,
    /// Directory of CNI plugins; default `/usr/lib/cni`.
    pub cni_path: PathBuf,
    /// Registries (`host[:port]`) spoken to over TLS without a check of the certificate, or over plain http; loopback ones always are. Default none.
    pub insecure_registries: Vec<String>,
    /// Registries (`host[:port]`) that are asked before another, by that one's host: `"docker.io" = ["127.0.0.1:5000"]`. The first that has the image serves a pull. Default none.
    pub registry_mirrors: BTreeMap<String, Vec<String>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "embedded".to_owned(),
            root: PathBuf::new(),
            shim: None,
            allow_privileged: false,
            log_max_size: ByteSize(16 << 20),
            network: NetworkBy::default(),
            cni_path: PathBuf::from("/usr/lib/cni"),
            insecure_registries: Vec::new(),
            registry_mirrors: BTreeMap::new(),
        }
    }
}
