//! The fully resolved instruction that a driver receives; nothing in it is left to default.
//!
//! A driver's translator destructures [`Plan`] without `..`, so that a new field breaks every driver that ignores it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hythe_spec::{
    Component, ExtraHost, ImageRef, Inbound, Millis, Mount, MountSource, Network, Outbound, Permissions, Port,
    Resources, Seccomp, Signal,
};
use serde::{Deserialize, Serialize};

use crate::Identity;

/// Everything an engine must be told to make one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Whose attempt this is; gives the instance its name and labels.
    pub identity: Identity,
    /// Image to run; present in the engine before `create` is called.
    pub image: ImageRef,
    /// Replaces the image's entrypoint (an empty list: none at all); `None`: the image's.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command; `None`: the image's, except that setting `entrypoint` drops the image's command.
    pub command: Option<Vec<String>>,
    /// Environment over the image's own.
    pub env: BTreeMap<String, String>,
    /// The user's labels; [`Plan::all_labels`] adds ours.
    pub labels: BTreeMap<String, String>,
    /// Published ports.
    pub ports: Vec<Port>,
    /// Mounts, unique by target; volume names are the engine's.
    pub mounts: Vec<Mount>,
    /// User and group; `None`: the image's.
    pub user: Option<String>,
    /// Working directory; created where the image lacks it. `None`: the image's.
    pub workdir: Option<String>,
    /// Host name; not applied with the host's network.
    pub hostname: String,
    /// What it is connected to.
    pub network: PlanNetwork,
    /// Name servers in place of the engine's.
    pub dns: Vec<IpAddr>,
    /// Lines for the hosts file.
    pub extra_hosts: Vec<ExtraHost>,
    /// Signal that asks it to stop; `None`: the image's, else TERM.
    pub stop_signal: Option<Signal>,
    /// Time between that signal and KILL.
    pub stop_grace: Millis,
    /// Limits.
    pub resources: Resources,
    /// The root file system cannot be written to (`/dev/shm` and the mounts can).
    pub read_only: bool,
    /// A minimal init is pid 1.
    pub init: bool,
    /// The main process gets a terminal.
    pub tty: bool,
    /// The main process's stdin stays open.
    pub stdin: bool,
    /// What the process may do.
    pub security: Security,
    /// What may be reached from inside; `None`: not restricted.
    pub outbound: Option<Outbound>,
    /// Who may connect.
    pub inbound: Inbound,
}

/// The network of a plan, with the engine's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "lowercase")]
pub enum PlanNetwork {
    /// Loopback only.
    None,
    /// The host's own.
    Host,
    /// These networks of the engine, in order; they exist before `create` is called.
    Bridged {
        /// At least one.
        attachments: Vec<Attachment>,
    },
}

/// A connection to one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The engine's name of the network.
    pub network: String,
    /// Names under which other members of the network resolve this instance.
    pub aliases: Vec<String>,
}

/// What the process may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// The complete set of capabilities, without `CAP_`, sorted.
    pub capabilities: Vec<String>,
    /// System call filter.
    pub seccomp: Seccomp,
    /// The process cannot gain privileges by executing a file.
    pub no_new_privileges: bool,
    /// Everything of the host.
    pub privileged: bool,
}

impl Plan {
    /// The attempt's name in the engine.
    pub fn name(&self) -> String {
        self.identity.instance_name()
    }

    /// The user's labels and ours; ours win.
    pub fn all_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        labels.extend(self.identity.labels());
        labels
    }

    /// A plan that asks for no more than the image gives: no network, no mounts, no limits, the standard permissions and grace.
    pub fn plain(image: ImageRef, identity: Identity) -> Self {
        let standard = Permissions::standard();
        Self {
            image,
            entrypoint: None,
            command: None,
            env: BTreeMap::new(),
            labels: BTreeMap::new(),
            ports: Vec::new(),
            mounts: Vec::new(),
            user: None,
            workdir: None,
            hostname: identity.component.clone(),
            network: PlanNetwork::None,
            dns: Vec::new(),
            extra_hosts: Vec::new(),
            stop_signal: None,
            stop_grace: Component::DEFAULT_STOP_GRACE,
            resources: Resources::default(),
            read_only: false,
            init: false,
            tty: false,
            stdin: false,
            security: Security {
                capabilities: standard.capabilities,
                seccomp: standard.seccomp,
                no_new_privileges: standard.no_new_privileges,
                privileged: standard.privileged,
            },
            outbound: None,
            inbound: Inbound::default(),
            identity,
        }
    }

    /// Resolves one component of a service into a plan for the given attempt.
    pub fn resolve(service: &hythe_spec::Service, component: &hythe_spec::Component, identity: Identity) -> Self {
        let component = component.clone();
        let mut labels = service.labels.clone();
        labels.extend(component.labels);
        let mut mounts: Vec<Mount> = component.mounts.into_iter().chain(component.permissions.mounts).collect();
        for mount in &mut mounts {
            if let MountSource::Volume { name, external: false } = &mut mount.source {
                *name = volume_name(&service.name, name);
            }
        }
        mounts.sort();
        let network = match component.network {
            Network::None => PlanNetwork::None,
            Network::Host => PlanNetwork::Host,
            Network::Service => {
                bridged([network_name(&service.name)], &service.workload_name(&component.name), &component.name)
            }
            Network::Named { names } => bridged(names, &service.workload_name(&component.name), &component.name),
        };
        Self {
            image: component.image,
            entrypoint: component.entrypoint,
            command: component.command,
            env: component.env,
            labels,
            ports: component.ports,
            mounts,
            user: component.user,
            workdir: component.workdir,
            hostname: component.hostname.unwrap_or(component.name),
            network,
            dns: component.dns,
            extra_hosts: component.extra_hosts,
            stop_signal: component.stop_signal,
            stop_grace: component.stop_grace,
            resources: component.resources,
            read_only: component.read_only,
            init: component.init,
            tty: component.tty,
            stdin: component.stdin,
            security: Security {
                capabilities: component.permissions.capabilities,
                seccomp: component.permissions.seccomp,
                no_new_privileges: component.permissions.no_new_privileges,
                privileged: component.permissions.privileged,
            },
            outbound: component.permissions.outbound,
            inbound: component.permissions.inbound,
            identity,
        }
    }
}

fn bridged(networks: impl IntoIterator<Item = String>, workload: &str, component: &str) -> PlanNetwork {
    let mut aliases = vec![component.to_owned(), workload.to_owned()];
    aliases.dedup();
    let attachments = networks.into_iter().map(|network| Attachment { network, aliases: aliases.clone() }).collect();
    PlanNetwork::Bridged { attachments }
}

/// The engine's name of a service's own network.
pub fn network_name(service: &str) -> String {
    format!("hythe-{service}")
}

/// The engine's name of a service's own volume.
pub fn volume_name(service: &str, volume: &str) -> String {
    format!("{service}_{volume}")
}

/// What is shown in place of a secret value.
pub const MASK: &str = "********";

/// Whether the name of a variable says that its value must not be shown.
pub fn is_secret(name: &str) -> bool {
    let upper = name.to_uppercase();
    ["PASSWORD", "SECRET", "TOKEN", "KEY", "CREDENTIAL"].iter().any(|word| upper.contains(word))
}
