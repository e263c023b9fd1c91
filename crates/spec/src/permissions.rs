//! What a component may do. A missing or unreadable profile is an error, never "allow".

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Mount;

/// The effective permissions of a component, fully resolved.
///
/// Without a profile in the file this is [`Permissions::standard`]. With one (built-in, file or inline): every capability is
/// dropped but those listed, and there is no network but what the profile opens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Permissions {
    /// Name of the profile for display: `standard`, `none`, `network`, a file's name, or `inline`.
    pub profile: String,
    /// Capabilities the process keeps, without `CAP_`, upper case, sorted: the complete list.
    pub capabilities: Vec<String>,
    /// Mounts that `read[]` and `write[]` ask for.
    pub mounts: Vec<Mount>,
    /// What may be reached from inside; `None`: not restricted by a profile (the standard set).
    pub outbound: Option<Outbound>,
    /// Who may connect.
    pub inbound: Inbound,
    /// System call filter.
    pub seccomp: Seccomp,
    /// The process cannot gain privileges by executing a file.
    pub no_new_privileges: bool,
    /// Every capability, device and path of the host; must also be allowed in the agent's configuration.
    pub privileged: bool,
}

/// What a profile lets a component reach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Outbound {
    /// Everything.
    pub insecure_allow_all: bool,
    /// Only these host names (a leading dot: with subdomains).
    pub allow_host: Vec<String>,
    /// Only these ports.
    pub allow_port: Vec<u16>,
}

/// What a profile says of incoming connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Inbound {
    /// Host names from which connections are accepted; empty: not restricted beyond the published addresses.
    pub allow_host: Vec<String>,
}

/// System call filter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// The engine's default filter.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// The profile in this file (absolute path), in the format Docker and Podman share.
    File(String),
}

/// Podman 4.3's default capabilities: no `NET_RAW`, `MKNOD`, `AUDIT_WRITE`.
pub const STANDARD_CAPABILITIES: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Every capability that Linux knows, without `CAP_`, sorted.
pub const CAPABILITIES: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

impl Permissions {
    /// The built-in profile of that name: `standard`; `none`, which allows nothing; `network`, which allows nothing but
    /// every connection.
    pub fn built_in(name: &str) -> Option<Self> {
        let outbound = match name {
            "standard" => return Some(Self::standard()),
            "none" => Outbound::default(),
            "network" => Outbound { insecure_allow_all: true, ..Outbound::default() },
            _ => return None,
        };
        let nothing = Self { capabilities: Vec::new(), outbound: Some(outbound), ..Self::standard() };
        Some(Self { profile: name.to_owned(), ..nothing })
    }

    /// Whether there is anything to reach: a component whose profile opens nothing has no network.
    pub fn opens_network(&self) -> bool {
        self.outbound.as_ref().is_none_or(|outbound| {
            outbound.insecure_allow_all || !outbound.allow_host.is_empty() || !outbound.allow_port.is_empty()
        })
    }

    /// What a component has that names no profile: Podman's default capabilities and filter, and no new privileges.
    pub fn standard() -> Self {
        Self {
            profile: "standard".to_owned(),
            capabilities: STANDARD_CAPABILITIES.map(str::to_owned).to_vec(),
            mounts: Vec::new(),
            outbound: None,
            inbound: Inbound::default(),
            seccomp: Seccomp::Default,
            no_new_privileges: true,
            privileged: false,
        }
    }
}
