//! A service after parsing, validation and normalisation: nothing in it is ambiguous any more.
//!
//! This is what crosses the wire and what is compared and stored.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ByteSize, ConfigChange, Dependency, Device, ExtraHost, Health, ImageRef, Millicores, Millis, Mount, Network,
    Permissions, Platform, Port, PullPolicy, Restart, Secret, Signal, Ulimit,
};

/// What can run a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeKind {
    /// Podman.
    Podman,
    /// Docker.
    Docker,
    /// containerd.
    Containerd,
    /// QEMU virtual machines.
    Vm,
    /// Kubernetes.
    Kubernetes,
    /// The embedded OCI runtime.
    Embedded,
    /// In-process, for tests and demonstrations.
    Memory,
}

/// What separates a workload from the host, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Nothing but being a process.
    #[default]
    Process,
    /// The host's kernel: namespaces, control groups, capabilities, a seccomp profile.
    Container,
    /// A kernel of its own in a virtual machine.
    Vm,
}

/// A named set of components deployed together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// DNS label, at most 40 characters.
    pub name: String,
    /// Reserved: another agent to run on. Refused for now unless absent.
    pub node: Option<String>,
    /// Labels put on every component's instances.
    pub labels: BTreeMap<String, String>,
    /// Whether it should run; `active = false` keeps it deployed but stopped.
    pub active: bool,
    /// What is done about differences between desired and observed.
    pub drift: Drift,
    /// At least one, in the file's order.
    pub components: Vec<Component>,
}

/// Policy for out-of-band changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Drift {
    /// They are shown.
    #[default]
    Report,
    /// They are undone.
    Heal,
}

/// How one image of a service is built; used by the command line only, never sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The image that results.
    pub image: ImageRef,
    /// Absolute directory with the build's files.
    pub context: String,
    /// Absolute path of the Dockerfile or Containerfile.
    pub dockerfile: String,
}

/// One container- or VM-sized part of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Component {
    /// DNS label, unique in the service.
    pub name: String,
    /// Runtime asked for; absent: the first healthy one that can honour everything here.
    pub runtime: Option<RuntimeKind>,
    /// What it runs.
    pub image: ImageRef,
    /// When that is fetched.
    #[serde(default, skip_serializing_if = "PullPolicy::is_default")]
    pub pull_policy: PullPolicy,
    /// Replaces the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// Environment, over the image's own.
    pub env: BTreeMap<String, String>,
    /// Published ports, sorted.
    pub ports: Vec<Port>,
    /// Volumes, binds and tmpfs, sorted by target; targets are unique. Without the mounts of `permissions`.
    pub mounts: Vec<Mount>,
    /// What is done when a file that is bind-mounted has changed since the deploy before.
    #[serde(default, skip_serializing_if = "ConfigChange::is_default")]
    pub on_config_change: ConfigChange,
    /// Digests of those files by host path; the agent's to find out, whatever is sent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub file_digests: BTreeMap<String, String>,
    /// Secrets of the agent's store, sorted by target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// `name|uid[:group|gid]`; absent: the image's.
    pub user: Option<String>,
    /// Working directory, absolute; absent: the image's. Created where the image lacks it.
    pub workdir: Option<String>,
    /// Host name; absent: the component's name.
    pub hostname: Option<String>,
    /// What it is connected to.
    pub network: Network,
    /// Name servers in place of the engine's.
    pub dns: Vec<std::net::IpAddr>,
    /// Lines for the hosts file.
    pub extra_hosts: Vec<ExtraHost>,
    /// Domains in which single names are searched, in place of the engine's; `.` alone: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_search: Vec<String>,
    /// Options of the resolver, such as `ndots:2`, in place of the engine's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_options: Vec<String>,
    /// Groups that its processes have besides their user's: names of the image's `/etc/group`, or numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group_add: Vec<String>,
    /// Kernel parameters of its own namespaces, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Devices of the host, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// How much of its log is kept; absent: as the runtime is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogLimits>,
    /// The kind of machine that its image is for; absent: the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// When the agent starts it again.
    pub restart: Restart,
    /// Signal that asks it to stop; absent: the image's, else TERM.
    pub stop_signal: Option<Signal>,
    /// Time between that signal and KILL; default 10 s.
    pub stop_grace: Millis,
    /// Limits.
    pub resources: Resources,
    /// The root file system cannot be written to.
    pub read_only: bool,
    /// A minimal init is pid 1: reaps zombies, forwards signals.
    pub init: bool,
    /// The main process gets a terminal; stdout and stderr are then one stream.
    pub tty: bool,
    /// The main process's stdin stays open for `attach`.
    pub stdin: bool,
    /// Labels put on its instances, over the service's.
    pub labels: BTreeMap<String, String>,
    /// Components of the service that come first, and how far they must have come.
    pub depends_on: BTreeMap<String, Dependency>,
    /// How it is probed; absent: by the check of its image, and where that has none, running is healthy.
    pub health: Option<Health>,
    /// Nor by the check of its image, where that has one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_health: bool,
    /// What it may do.
    pub permissions: Permissions,
}

/// How much of a log is kept; what is absent is as the runtime is configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLimits {
    /// Bytes after which another file is begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<ByteSize>,
    /// Files kept, the one that is written to included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_files: Option<u32>,
}

/// Limits of a component; absent: none of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resources {
    /// Memory in bytes, at least 6 MiB; swap on top is not given.
    pub memory: Option<ByteSize>,
    /// Processor time in thousandths of a core.
    pub cpus: Option<Millicores>,
    /// Number of processes and threads.
    pub pids: Option<u32>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: Option<ByteSize>,
    /// Process limits, sorted by name.
    pub ulimits: Vec<Ulimit>,
}

impl Component {
    /// A component that says nothing but its name and image: every other field has its default.
    pub fn new(name: &str, image: ImageRef) -> Self {
        Self {
            name: name.to_owned(),
            runtime: None,
            image,
            pull_policy: PullPolicy::default(),
            entrypoint: None,
            command: None,
            env: BTreeMap::new(),
            ports: Vec::new(),
            mounts: Vec::new(),
            on_config_change: ConfigChange::default(),
            file_digests: BTreeMap::new(),
            secrets: Vec::new(),
            user: None,
            workdir: None,
            hostname: None,
            network: Network::default(),
            dns: Vec::new(),
            extra_hosts: Vec::new(),
            dns_search: Vec::new(),
            dns_options: Vec::new(),
            group_add: Vec::new(),
            sysctls: BTreeMap::new(),
            devices: Vec::new(),
            logs: None,
            platform: None,
            restart: Restart::default(),
            stop_signal: None,
            stop_grace: Self::DEFAULT_STOP_GRACE,
            resources: Resources::default(),
            read_only: false,
            init: false,
            tty: false,
            stdin: false,
            labels: BTreeMap::new(),
            depends_on: BTreeMap::new(),
            health: None,
            no_health: false,
            permissions: Permissions::standard(),
        }
    }

    /// Time between the stop signal and KILL where none is given.
    pub const DEFAULT_STOP_GRACE: Millis = Millis(10_000);
}

impl Service {
    /// The workload name of a component: `<service>-<component>`, or `<service>` where both are equal.
    pub fn workload_name(&self, component: &str) -> String {
        workload_name(&self.name, component)
    }

    /// The component of that name.
    pub fn component(&self, name: &str) -> Option<&Component> {
        self.components.iter().find(|component| component.name == name)
    }
}

/// The workload name of a component: `<service>-<component>`, or `<service>` where both are equal.
pub fn workload_name(service: &str, component: &str) -> String {
    if service == component { service.to_owned() } else { format!("{service}-{component}") }
}

impl RuntimeKind {
    /// Every kind, in the order in which placement prefers them.
    pub const ALL: [Self; 7] =
        [Self::Podman, Self::Docker, Self::Containerd, Self::Kubernetes, Self::Vm, Self::Embedded, Self::Memory];

    /// The name used in files, on the wire and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Vm => "vm",
            Self::Kubernetes => "kubernetes",
            Self::Embedded => "embedded",
            Self::Memory => "memory",
        }
    }
}

impl std::fmt::Display for RuntimeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for RuntimeKind {
    type Err = crate::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let error = crate::ParseError::new(format!("`{text}` is not a runtime"));
            match crate::nearest::nearest(text, Self::ALL.map(Self::as_str)) {
                Some(known) => error.hint(format!("did you mean `{known}`?")),
                None => error.hint("one of podman, docker, containerd, kubernetes, vm, embedded, memory"),
            }
        })
    }
}
