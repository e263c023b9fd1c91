//! What the files say.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::subnet::Subnet;

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) internal: bool,
    /// Number of its subnets.
    pub(crate) number: u32,
    pub(crate) v4: Subnet,
    /// Absent where the kernel had no IPv6 when it was made.
    pub(crate) v6: Option<Subnet>,
    /// Directory of the CNI plugins that make its links and rules; absent: we do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plugins: Option<PathBuf>,
}

impl Definition {
    pub(crate) fn subnets(&self) -> impl Iterator<Item = Subnet> {
        [Some(self.v4), self.v6].into_iter().flatten()
    }

    /// The addresses of a member, sorted.
    pub(crate) fn addresses(&self, host: u32) -> Vec<IpAddr> {
        self.subnets().map(|subnet| subnet.host(host)).collect()
    }
}

/// Who is connected to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Members {
    /// The boot that they live in.
    pub(crate) boot: String,
    /// The host number given last.
    pub(crate) last: u32,
    /// Counts changes of who can be reached.
    pub(crate) changed: u64,
    /// The change that hosts files tell of.
    pub(crate) told: u64,
    pub(crate) members: Vec<Member>,
}

impl Members {
    pub(crate) fn of(&self, instance: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.instance == instance)
    }
}

/// A connected instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) instance: String,
    /// Its number in each subnet.
    pub(crate) host: u32,
    /// Names it resolves under, sorted.
    pub(crate) aliases: Vec<String>,
    /// The connection works and is told to the others.
    pub(crate) complete: bool,
}

/// The connections of an instance, enough to write its hosts file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttachmentRecord {
    pub(crate) boot: String,
    /// Where its network namespace is.
    #[serde(default)]
    pub(crate) namespace: Option<PathBuf>,
    pub(crate) hostname: String,
    /// Lines that the user asked for.
    pub(crate) extra: Vec<(IpAddr, String)>,
    /// In order; the first that leads out has the default route.
    pub(crate) connections: Vec<Connection>,
}

/// A connection to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Connection {
    pub(crate) network: String,
    pub(crate) aliases: Vec<String>,
}
