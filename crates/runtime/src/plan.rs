//! The fully resolved instruction that a driver receives; nothing in it is left to default.
//!
//! A driver's translator destructures [`Plan`] without `..`, so that a new field breaks every driver that ignores it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hythe_spec::mount::kernel_directory;
use hythe_spec::{
    Component, Device, ExtraHost, Health, ImageRef, Inbound, LogLimits, Millis, Mount, MountSource, Network, Outbound,
    Permissions, Platform, Port, Resources, Seccomp, Signal,
};
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Identity, Result};

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
    /// The user's labels and the component's specification, of any length and bytes. A driver keeps them where its engine can: as labels,
    /// or as annotations. The identity's labels ([`Identity::labels`]) are always labels: short, selectable, legal in every engine.
    pub annotations: BTreeMap<String, String>,
    /// Published ports.
    pub ports: Vec<Port>,
    /// Mounts, unique by target; volume names are the engine's. [`Plan::all_mounts`] adds the secrets.
    pub mounts: Vec<Mount>,
    /// Secrets: files that are there while the instance is, each at a target of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<PlanSecret>,
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
    /// Domains in which single names are searched, in place of the engine's; `.` alone: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_search: Vec<String>,
    /// Options of the resolver, in place of the engine's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_options: Vec<String>,
    /// Groups besides the user's, of what `exec` starts too: names of the image's `/etc/group`, or numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group_add: Vec<String>,
    /// Kernel parameters of its own namespaces.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Devices of the host; no others may be opened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// How much of its log is kept; `None`: as the runtime is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogLimits>,
    /// The kind of machine that the image is for, and was fetched for before `create` is called; `None`: the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The component's own health check. The agent does it, and its verdict is the one that counts; an engine that probes by itself
    /// may be given it too. `None`: none, or the image's, which is not known before the image is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
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

/// A secret as a file of the host, on a file system in memory; its value is in nothing that a driver is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSecret {
    /// Absolute path in the instance.
    pub target: String,
    /// Absolute path on the host, with the owner and the mode that are seen inside.
    pub path: String,
}

impl PlanSecret {
    /// It as what every engine mounts: read-only, and with a label of its own where the host labels files.
    pub fn mount(&self) -> Mount {
        let source = MountSource::Bind { path: self.path.clone(), propagation: None, selinux: Some('Z') };
        Mount { target: self.target.clone(), source, read_only: true }
    }
}

/// Kernel parameters of every network that an instance does not share with the host, unless its plan gives others: any user
/// may listen on any port. Docker's since 20.10, and harmless, as none of these ports is the host's.
pub const ANY_PORT: (&str, &str) = ("net.ipv4.ip_unprivileged_port_start", "0");

/// The same: any group may send an echo request (`ping`) without `NET_RAW`. An unprivileged user's runtime cannot give it: the kernel
/// takes only groups that the user has.
pub const ANY_PING: (&str, &str) = ("net.ipv4.ping_group_range", "0 2147483647");

impl Plan {
    /// The plan's kernel parameters, and those that every network of an instance's own has.
    pub fn all_sysctls(&self, rootless: bool) -> BTreeMap<String, String> {
        let mut all = self.sysctls.clone();
        if self.network != PlanNetwork::Host {
            for (name, value) in [ANY_PORT].into_iter().chain((!rootless).then_some(ANY_PING)) {
                all.entry(name.to_owned()).or_insert_with(|| value.to_owned());
            }
        }
        all
    }
}

/// The network of a plan, with the engine's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "lowercase")]
pub enum PlanNetwork {
    /// Loopback only.
    None,
    /// The host's own.
    Host,
    /// These networks, in order; they exist before `create` is called, and their members find each other by name.
    // As earlier versions wrote it to disk.
    #[serde(rename = "bridged")]
    Networks {
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

impl Security {
    /// The standard profile.
    pub fn standard() -> Self {
        Self::of(&Permissions::standard())
    }

    fn of(permissions: &Permissions) -> Self {
        Self {
            capabilities: permissions.capabilities.clone(),
            seccomp: permissions.seccomp.clone(),
            no_new_privileges: permissions.no_new_privileges,
            privileged: permissions.privileged,
        }
    }
}

/// Most processes and threads of an instance whose plan does not say, on hosts that can limit them.
pub const DEFAULT_PIDS: u32 = 2048;

impl Plan {
    /// The first place of a mount or secret that is the kernel's own, in `/proc` or `/sys`: what protects the host there could be
    /// covered.
    pub fn kernel_mount(&self) -> Option<&str> {
        let mounts = self.mounts.iter().map(|mount| mount.target.as_str());
        let secrets = self.secrets.iter().map(|secret| secret.target.as_str());
        mounts.chain(secrets).find(|target| kernel_directory(target).is_some())
    }

    /// The attempt's name in the engine.
    pub fn name(&self) -> String {
        self.identity.instance_name()
    }

    /// The annotations and the identity's labels, which win, for an engine that keeps both as labels.
    pub fn labels_and_annotations(&self) -> BTreeMap<String, String> {
        let mut all = self.annotations.clone();
        all.extend(self.identity.labels());
        all
    }

    /// The mounts and the secrets, sorted by target.
    pub fn all_mounts(&self) -> Vec<Mount> {
        let mut mounts: Vec<Mount> =
            self.mounts.iter().cloned().chain(self.secrets.iter().map(PlanSecret::mount)).collect();
        mounts.sort();
        mounts
    }

    /// A plan that asks for no more than the image gives: no network, no mounts, no limits, the standard permissions and grace.
    pub fn plain(image: ImageRef, identity: Identity) -> Self {
        Self {
            image,
            entrypoint: None,
            command: None,
            env: BTreeMap::new(),
            annotations: BTreeMap::new(),
            ports: Vec::new(),
            mounts: Vec::new(),
            secrets: Vec::new(),
            user: None,
            workdir: None,
            hostname: identity.component.clone(),
            network: PlanNetwork::None,
            dns: Vec::new(),
            extra_hosts: Vec::new(),
            dns_search: Vec::new(),
            dns_options: Vec::new(),
            group_add: Vec::new(),
            sysctls: BTreeMap::new(),
            devices: Vec::new(),
            logs: None,
            platform: None,
            health: None,
            stop_signal: None,
            stop_grace: Component::DEFAULT_STOP_GRACE,
            resources: Resources::default(),
            read_only: false,
            init: false,
            tty: false,
            stdin: false,
            security: Security::standard(),
            outbound: None,
            inbound: Inbound::default(),
            identity,
        }
    }

    /// Resolves one component of a service into a plan for the given attempt; where its secrets are, the caller adds.
    ///
    /// `labels` are the service's.
    pub fn resolve(labels: &BTreeMap<String, String>, component: &Component, identity: Identity) -> Self {
        let component = component.clone();
        let mut annotations = labels.clone();
        annotations.extend(component.labels);
        let mut mounts: Vec<Mount> = component.mounts.into_iter().chain(component.permissions.mounts.clone()).collect();
        for mount in &mut mounts {
            if let MountSource::Volume { name, external: false } = &mut mount.source {
                *name = volume_name(&identity.service, name);
            }
        }
        mounts.sort();
        let network = match component.network {
            Network::None => PlanNetwork::None,
            Network::Host => PlanNetwork::Host,
            Network::Service => networks([network_name(&identity.service)], &identity.workload(), &component.name),
            Network::Named { names } => networks(names, &identity.workload(), &component.name),
        };
        Self {
            image: component.image,
            entrypoint: component.entrypoint,
            command: component.command,
            env: component.env,
            annotations,
            ports: component.ports,
            mounts,
            secrets: Vec::new(),
            user: component.user,
            workdir: component.workdir,
            hostname: component.hostname.unwrap_or(component.name),
            network,
            dns: component.dns,
            extra_hosts: component.extra_hosts,
            dns_search: component.dns_search,
            dns_options: component.dns_options,
            group_add: component.group_add,
            sysctls: component.sysctls,
            devices: component.devices,
            logs: component.logs,
            platform: component.platform,
            health: component.health,
            stop_signal: component.stop_signal,
            stop_grace: component.stop_grace,
            resources: component.resources,
            read_only: component.read_only,
            init: component.init,
            tty: component.tty,
            stdin: component.stdin,
            security: Security::of(&component.permissions),
            outbound: component.permissions.outbound,
            inbound: component.permissions.inbound,
            identity,
        }
    }
}

fn networks(networks: impl IntoIterator<Item = String>, workload: &str, component: &str) -> PlanNetwork {
    let mut aliases = vec![component.to_owned(), workload.to_owned()];
    aliases.dedup();
    let attachments = networks.into_iter().map(|network| Attachment { network, aliases: aliases.clone() }).collect();
    PlanNetwork::Networks { attachments }
}

/// The engine's name of a service's own network.
pub fn network_name(service: &str) -> String {
    format!("hythe-{service}")
}

/// The engine's name of a service's own volume.
pub fn volume_name(service: &str, volume: &str) -> String {
    format!("{service}_{volume}")
}

/// Refuses a working directory of the kernel's own: a link of `/proc` may lead out of the container (CVE-2024-21626).
///
/// # Errors
/// `Invalid` where the path is `/proc`, `/sys`, or below one of them.
pub fn check_workdir(operation: &'static str, path: &str) -> Result<()> {
    let Some(directory) = kernel_directory(path) else { return Ok(()) };
    let message = format!("the working directory `{path}` is in `{directory}`, which is the kernel's");
    Err(Error::new(ErrorKind::Invalid, operation, message).hint("set `workdir` to a directory of the image"))
}

/// Refuses a volume that an image declares over what every instance has of its own.
///
/// # Errors
/// `Invalid` where the cleaned path is `/`, or `/dev`, `/proc`, `/sys` or below one of them; `/dev/shm` is a directory like others.
pub fn check_image_volume(operation: &'static str, path: &str) -> Result<()> {
    let is_below = |directory: &str| std::path::Path::new(path).starts_with(directory);
    let is_device = is_below("/dev") && !is_below("/dev/shm");
    if path != "/" && !is_device && kernel_directory(path).is_none() {
        return Ok(());
    }
    let message = format!("the image declares a volume at `{path}`, where nothing can be mounted");
    Err(Error::new(ErrorKind::Invalid, operation, message).hint("build the image without that `VOLUME`"))
}
