//! What every facet works on.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hythe_network::Networks;
use hythe_oci::{Registry, Store, UsernsFs, remove_tree_with};
use hythe_runtime::{Capability, Error, ErrorKind, Result, RuntimeInfo};
use hythe_shim::journal::{Kind, append};
use hythe_shim::rootless_net;

use crate::error::IoContext;
use crate::instances::{Instances, Record};
use crate::translate::HostFacts;
use hythe_local::program::Program;

/// Everything of one embedded runtime.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) info: RuntimeInfo,
    pub(crate) capability: Capability,
    /// See [`Context::warnings`].
    pub(crate) warnings: Vec<String>,
    pub(crate) root: PathBuf,
    pub(crate) shim: Program,
    pub(crate) instances: Instances,
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    /// None where the machine has no bridge networks.
    pub(crate) networks: Option<Networks>,
    pub(crate) host: HostFacts,
    /// Where files belong to subordinate ids.
    pub(crate) userns_fs: Option<Arc<dyn UsernsFs>>,
}

/// How facets share it.
pub(crate) type SharedContext = Arc<Context>;

impl Context {
    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    pub(crate) fn networks_directory(&self) -> PathBuf {
        self.root.join("networks")
    }

    /// The networks, for what cannot be done without.
    pub(crate) fn networks(&self, operation: &'static str) -> Result<&Networks> {
        self.networks.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, operation, "this host has no bridge networks")
                .hint("use `network = \"host\"` or `\"none\"`")
        })
    }

    /// Removes a directory that instances or images wrote to.
    pub(crate) fn discard(&self, operation: &'static str, tree: &Path, what: impl fmt::Display) -> Result<()> {
        remove_tree_with(self.userns_fs.as_deref(), tree).context(operation, what)
    }

    /// What is different here and asked for by no field; some of it changes.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let of_networks = self.host.user_namespace.as_deref().filter(|_| self.networks.is_some()).and_then(|place| {
            let (why, hint) = match rootless_net::outcome(place) {
                _ if !self.host.outward => (String::new(), "install `slirp4netns`, or "),
                Ok(()) => return None,
                Err(why) => (format!(": {why}"), ""),
            };
            Some(format!("rootless: bridge networks have no egress{why}; {hint}use `network = \"host\"` for egress"))
        });
        self.warnings.iter().cloned().chain(of_networks).collect()
    }

    /// Tells an event; one that cannot be written is logged and lost.
    pub(crate) fn event(&self, record: &Record, kind: Kind) {
        self.event_with(&record.id, &record.metadata(), kind);
    }

    /// Tells what became of an image.
    pub(crate) fn image_event(&self, id: &str, action: &str) {
        self.event_with(id, &serde_json::Value::Null, Kind::Image(action.to_owned()));
    }

    pub(crate) fn event_with(&self, id: &str, about: &serde_json::Value, kind: Kind) {
        if let Err(error) = append(&self.instances.journal(), id, about, kind) {
            tracing::warn!(id, %error, "an event cannot be recorded");
        }
    }
}
