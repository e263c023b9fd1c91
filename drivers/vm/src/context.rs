//! What every facet works on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hythe_guest::Kernel;
use hythe_local::instances::{Instances, Record};
use hythe_local::program::Program;
use hythe_local::supervised::Supervised;
use hythe_network::Networks;
use hythe_oci::{Registry, Store};
use hythe_runtime::{Capability, Error, ErrorKind, Result, RuntimeInfo, State};
use hythe_shim::journal::{Kind, append};

use crate::Config;
use crate::error::IoContext;
use crate::translate::Host;

/// Everything of one runtime.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) info: RuntimeInfo,
    pub(crate) capability: Capability,
    /// What works but should be known.
    pub(crate) warnings: Vec<String>,
    pub(crate) config: Config,
    pub(crate) root: PathBuf,
    pub(crate) shim: Program,
    pub(crate) kernel: Kernel,
    pub(crate) host: Host,
    pub(crate) instances: Instances,
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    /// None where guests can have no networks.
    pub(crate) networks: Option<Networks>,
}

/// How facets share it.
pub(crate) type SharedContext = Arc<Context>;

impl Context {
    pub(crate) fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    pub(crate) fn networks_directory(&self) -> PathBuf {
        self.root.join("networks")
    }

    /// The networks, for what cannot be done without.
    pub(crate) fn networks(&self, operation: &'static str) -> Result<&Networks> {
        self.networks.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, operation, "virtual machines have no networks here")
                .hint("use `network = \"none\"`, or run the agent as root")
        })
    }

    /// Removes a directory that nobody needs any more.
    pub(crate) fn discard(operation: &'static str, tree: &Path, what: &str) -> Result<()> {
        hythe_oci::remove_tree(tree).context(operation, what)
    }

    /// Tells an event; one that cannot be written is logged and lost.
    pub(crate) fn event(&self, record: &Record, kind: Kind) {
        if let Err(error) = append(&self.instances.journal(), &record.id, &record.metadata(), kind) {
            tracing::warn!(id = record.id, %error, "an event cannot be recorded");
        }
    }
}

impl Supervised for Context {
    fn instances(&self) -> &Instances {
        &self.instances
    }

    fn state(&self, operation: &'static str, record: &Record) -> Result<State> {
        Ok(crate::observe::state(self, operation, record)?.state)
    }
}
