//! What every facet works on.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hythe_oci::{Hands, Registry, Store, remove_by};
use hythe_runtime::{Capability, Error, ErrorKind, Result, RuntimeInfo};
use hythe_shim::journal::{Kind, append};
use hythe_shim::outward;

use crate::error::Doing;
use crate::instances::{Instances, Record};
use crate::network::Networks;
use crate::translate::Machine;

/// Everything of one embedded runtime.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) info: RuntimeInfo,
    pub(crate) capability: Capability,
    /// See [`Core::warnings`].
    pub(crate) warnings: Vec<String>,
    pub(crate) root: PathBuf,
    pub(crate) shim: PathBuf,
    pub(crate) instances: Instances,
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    /// None where the machine has no bridge networks.
    pub(crate) networks: Option<Networks>,
    pub(crate) machine: Machine,
    /// Where files belong to ids that this process has not.
    pub(crate) hands: Option<Arc<dyn Hands>>,
}

/// How facets share it.
pub(crate) type Shared = Arc<Core>;

impl Core {
    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    pub(crate) fn networks_directory(&self) -> PathBuf {
        self.root.join("networks")
    }

    /// The networks, for what cannot be done without.
    pub(crate) fn networks(&self, operation: &'static str) -> Result<&Networks> {
        self.networks.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, operation, "this machine has no bridge networks")
                .hint("use `network = \"host\"` or `\"none\"`")
        })
    }

    /// Removes a directory that instances or images wrote to.
    pub(crate) fn discard(&self, operation: &'static str, tree: &Path, what: impl fmt::Display) -> Result<()> {
        remove_by(self.hands.as_deref(), tree).doing(operation, what)
    }

    /// What is different here and asked for by no field; some of it changes.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let of_networks = self.machine.user_namespace.as_deref().filter(|_| self.networks.is_some()).and_then(|place| {
            let (why, hint) = match outward::outcome(place) {
                _ if !self.machine.outward => (String::new(), "install `slirp4netns`, or "),
                Ok(()) => return None,
                Err(why) => (format!(": {why}"), ""),
            };
            Some(format!(
                "as an ordinary user: networks do not lead out of this machine{why}; {hint}use `network = \"host\"` for what has to"
            ))
        });
        self.warnings.iter().cloned().chain(of_networks).collect()
    }

    /// Tells an event; one that cannot be written is logged and lost.
    pub(crate) fn event(&self, record: &Record, kind: Kind) {
        self.event_about(&record.id, &record.about(), kind);
    }

    /// Tells what became of an image.
    pub(crate) fn image_event(&self, id: &str, action: &str) {
        self.event_about(id, &serde_json::Value::Null, Kind::Image(action.to_owned()));
    }

    pub(crate) fn event_about(&self, id: &str, about: &serde_json::Value, kind: Kind) {
        if let Err(error) = append(&self.instances.journal(), id, about, kind) {
            tracing::warn!(id, %error, "an event cannot be told");
        }
    }
}
