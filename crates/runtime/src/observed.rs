//! What an engine says of an instance now.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use hythe_spec::vocabulary::ExitCause;
use hythe_spec::{Device, ExtraHost, LogLimits, Millis, Port, Resources, Signal};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Identity, InstanceId};

/// State of an instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Made, never started.
    Created,
    /// Asked to start, and the engine has not come to it; see [`Observed::pending`].
    Pending,
    /// Its main process runs.
    Running,
    /// Frozen.
    Paused,
    /// Asked to stop, not gone yet.
    Stopping,
    /// Its main process ended; see [`Exit`].
    Exited,
    /// Being removed.
    Removing,
    /// The engine does not know; never read as stopped.
    #[default]
    Unknown,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Created => "created",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Exited => "exited",
            Self::Removing => "removing",
            Self::Unknown => "unknown",
        })
    }
}

/// Why an instance that was asked to start does not run yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pending {
    /// One word, as the engine has it: `Unschedulable`, `ImagePullBackOff`, `Booting`.
    pub reason: String,
    /// The engine's own words; may be empty.
    pub message: String,
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message.as_str() {
            "" => f.write_str(&self.reason),
            message => write!(f, "{}: {message}", self.reason),
        }
    }
}

/// What the engine's own check of an instance says. Ours are made without one: the agent probes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineHealth {
    /// Not checked long enough.
    Starting,
    /// The last checks succeeded.
    Healthy,
    /// Too many checks failed in a row.
    Unhealthy,
}

impl EngineHealth {
    /// From the word that engines use; `None`: there is no check.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "starting" => Some(Self::Starting),
            "healthy" => Some(Self::Healthy),
            "unhealthy" => Some(Self::Unhealthy),
            _ => None,
        }
    }
}

/// How a main process ended, as far as the engine knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Why. An engine reports [`ExitCause::Exited`], [`ExitCause::Signal`] and what it knows beyond them; who sent a signal is for the agent to find out.
    pub cause: ExitCause,
    /// Exit code, 0 to 255; death by a signal is 128 + its number. `None`: it had none (a guest that panicked, a pod that was evicted), or the engine does not know it.
    pub code: Option<i32>,
    /// Signal it died of. Engines that only report a code above 128 cannot tell `exit 137` from SIGKILL; the signal is then read from the code.
    pub signal: Option<Signal>,
    /// The engine's own words where the process could not be started or was lost.
    pub error: Option<String>,
}

impl Exit {
    /// From a code in the convention of shells: above 128 it names a signal.
    pub fn from_code(code: i32) -> Self {
        let signal = u8::try_from(code - 128).ok().filter(|n| (1..=64).contains(n)).map(Signal);
        let cause = if signal.is_some() { ExitCause::Signal } else { ExitCause::Exited };
        Self { cause, code: Some(code), signal, error: None }
    }

    /// A process that could not be executed, with the code a shell gives (127 absent, 126 not executable) and the engine's words.
    pub fn never_started(code: i32, words: impl Into<String>) -> Self {
        Self { cause: ExitCause::NeverStarted, code: Some(code), signal: None, error: Some(words.into()) }
    }

    /// The same, OOM-killed where that is so.
    #[must_use]
    pub fn oom_killed(self, oom: bool) -> Self {
        Self { cause: if oom { ExitCause::OutOfMemory } else { self.cause }, ..self }
    }

    /// Whether the kernel killed it for lack of memory.
    pub fn is_oom(&self) -> bool {
        self.cause == ExitCause::OutOfMemory
    }
}

/// One row of a list: what every engine gives for all instances in one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The engine's id.
    pub id: InstanceId,
    /// Its name in the engine.
    pub name: String,
    /// All labels, ours too.
    pub labels: BTreeMap<String, String>,
    /// Our labels, read; `None`: not ours.
    pub identity: Option<Identity>,
    /// Image reference as the engine shows it.
    pub image: String,
    /// State.
    pub state: State,
    /// Exit code where it ended and the list says so.
    pub exit_code: Option<i32>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Published ports with protocol and host address, sorted.
    pub ports: Vec<Port>,
    /// Networks it is connected to, sorted.
    pub networks: Vec<String>,
}

/// Everything the engine says of one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The engine's id.
    pub id: InstanceId,
    /// Its name in the engine.
    pub name: String,
    /// All labels, ours too.
    pub labels: BTreeMap<String, String>,
    /// Our labels, read; `None`: not ours.
    pub identity: Option<Identity>,
    /// Image reference it was made from.
    pub image: String,
    /// Id (`sha256:…`) of the image it really runs.
    pub image_id: Option<String>,
    /// State.
    pub state: State,
    /// Why it does not run yet, in state [`State::Pending`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// Host pid of the main process while it runs.
    pub pid: Option<u32>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When its main process was last started.
    pub started: Option<Timestamp>,
    /// When its main process last ended.
    pub finished: Option<Timestamp>,
    /// Restarts made by the engine itself.
    pub restarts: u32,
    /// How it ended, once it has.
    pub exit: Option<Exit>,
    /// What the engine's own check says, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<EngineHealth>,
    /// Every network with its addresses, sorted by name.
    pub networks: Vec<ObservedNetwork>,
    /// Every published port with protocol and host address, sorted.
    pub ports: Vec<Port>,
    /// Every mount with its options, sorted by target.
    pub mounts: Vec<ObservedMount>,
    /// Entrypoint as configured.
    pub entrypoint: Vec<String>,
    /// Command as configured.
    pub command: Vec<String>,
    /// Environment as configured, the image's and the engine's own variables included.
    pub env: BTreeMap<String, String>,
    /// Names in `env` that were given when the instance was made; `None`: the engine does not say which are the image's.
    pub explicit_env: Option<BTreeSet<String>>,
    /// User as configured.
    pub user: Option<String>,
    /// Working directory as configured.
    pub workdir: Option<String>,
    /// Host name as configured.
    pub hostname: Option<String>,
    /// Which kind of network it was made for.
    pub network_mode: NetworkMode,
    /// Name servers as configured.
    pub dns: Option<Vec<IpAddr>>,
    /// Lines for the hosts file as configured, sorted.
    pub extra_hosts: Option<Vec<ExtraHost>>,
    /// Domains in which single names are searched, as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_search: Option<Vec<String>>,
    /// Options of the resolver, as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_options: Option<Vec<String>>,
    /// Further groups, as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_add: Option<Vec<String>>,
    /// Kernel parameters that were given when it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sysctls: Option<BTreeMap<String, String>>,
    /// Devices that were given when it was made, sorted; what no plan can ask for is in `unmodelled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<Device>>,
    /// How much of its log is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogLimits>,
    /// Limits: those in force while it runs, where the engine or the host says them, else as configured.
    pub resources: Resources,
    /// Limits that nobody asked for may be the engine's own defaults, and it does not say which are.
    pub default_limits_unknown: bool,
    /// The root file system is read-only.
    pub read_only: bool,
    /// A minimal init is pid 1.
    pub init: Option<bool>,
    /// The main process has a terminal.
    pub tty: Option<bool>,
    /// The main process's stdin is kept open.
    pub stdin: Option<bool>,
    /// Signal with which the engine stops it, where one is set, by the image too; without one engines send TERM.
    pub stop_signal: Option<Signal>,
    /// How long the engine itself waits before KILL, where that is set.
    pub stop_grace: Option<Millis>,
    /// What its processes may do.
    pub security: ObservedSecurity,
    /// The engine's own restart policy, `no` or as the engine writes it; `None`: it does not say.
    pub engine_restart: Option<String>,
    /// The engine removes it as soon as it ends.
    pub auto_remove: bool,
    /// What no service file can say, in the engine's words: devices, namespaces of the host, other security options.
    pub unmodelled: Vec<String>,
}

/// The kind of network an instance was made for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// Loopback only.
    None,
    /// The host's own.
    Host,
    /// Networks of the engine; see `networks` for which.
    #[default]
    #[serde(rename = "bridged")]
    Networks,
    /// Something that no plan asks for, in the engine's words: `container:…`, `slirp4netns`.
    Other(String),
}

/// What the processes of an instance may do; `None`: the engine does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedSecurity {
    /// The capabilities it can have at most, without `CAP_`, sorted.
    pub capabilities: Option<Vec<String>>,
    /// Everything of the host.
    pub privileged: Option<bool>,
    /// System call filter.
    pub seccomp: Option<ObservedSeccomp>,
    /// Executing a file gains no privileges.
    pub no_new_privileges: Option<bool>,
}

/// The system call filter of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObservedSeccomp {
    /// The engine's own.
    Default,
    /// None.
    Unconfined,
    /// One that was given.
    Profile,
}

/// A network connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedNetwork {
    /// The engine's name of the network.
    pub name: String,
    /// Addresses in it, sorted.
    pub addresses: Vec<IpAddr>,
    /// Names it resolves under there, sorted; `None`: names are not resolved in this network.
    pub aliases: Option<Vec<String>>,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedMount {
    /// Path inside.
    pub target: String,
    /// `volume`, `bind` or `tmpfs`.
    pub kind: String,
    /// Volume name or host path; empty for tmpfs.
    pub source: String,
    /// It cannot be written to.
    pub read_only: bool,
    /// Other options, as the engine names them, sorted.
    pub options: Vec<String>,
    /// It is known that whoever made the instance asked for it: neither the image nor the engine brought it.
    pub given: bool,
}

impl Observed {
    /// The row a list has for it.
    pub fn listed(&self) -> Listed {
        Listed {
            id: self.id.clone(),
            name: self.name.clone(),
            labels: self.labels.clone(),
            identity: self.identity.clone(),
            image: self.image.clone(),
            state: self.state,
            exit_code: self.exit.as_ref().and_then(|exit| exit.code),
            created: self.created,
            ports: self.ports.clone(),
            networks: self.networks.iter().map(|network| network.name.clone()).collect(),
        }
    }
}
