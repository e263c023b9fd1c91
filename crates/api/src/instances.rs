//! Everything that runs on the host, ours or not: `GET /v1/instances`, a snapshot or with `follow` a feed.

use std::collections::BTreeMap;

use hythe_spec::Protocol;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which instances, and whether to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InstanceQuery {
    /// Also those that do not run.
    pub all: bool,
    /// Only those that are not this agent's.
    pub foreign: bool,
    /// Only this runtime's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// Go on with what changes (SSE); else one JSON document.
    pub follow: bool,
    /// Show secrets in labels.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub show_secrets: bool,
}

/// What is on the host at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceSnapshot {
    /// Every configured runtime: where one is not connected, its instances are missing or as they were last seen.
    pub runtimes: Vec<RuntimeConnection>,
    /// Instances, by runtime and id.
    pub instances: Vec<FoundInstance>,
}

/// Whether a runtime answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuntimeConnection {
    /// Its name.
    pub name: String,
    /// It answers.
    pub connected: bool,
    /// Why it does not.
    pub error: Option<String>,
}

/// State of an instance, in one vocabulary for all engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// Made, never started.
    Created,
    /// Asked to start; its engine has not come to it.
    Pending,
    /// Its main process runs.
    Running,
    /// Frozen.
    Paused,
    /// Asked to stop, not gone yet.
    Stopping,
    /// Its main process ended.
    Exited,
    /// Being removed.
    Removing,
    /// The engine has another word for it, such as `restarting`, or does not know.
    Unknown,
}

/// An instance, the same from every engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FoundInstance {
    /// Runtime it was found on.
    pub runtime: String,
    /// The engine's id.
    pub id: String,
    /// The engine's name.
    pub name: String,
    /// What people call it: `project/service`, a workload's name, else the engine's name.
    pub display_name: String,
    /// Image reference as the engine shows it.
    pub image: String,
    /// State.
    pub state: InstanceState,
    /// What the engine's own check says, where there is one: `starting`, `healthy`, `unhealthy`.
    pub health: Option<String>,
    /// Exit code of the last run, where it does not run and the engine says it.
    pub exit_code: Option<i32>,
    /// `hythe` (this agent), `hythe:<agent>`, `compose:<project>`, `swarm:<service>`, `nomad:<allocation>`, `kubernetes:<pod>`, `systemd:<unit>`, `none`.
    pub owner: String,
    /// It is not this agent's, and never touched by it.
    pub foreign: bool,
    /// Which workload it is, where it is one of Hythe's.
    pub hythe: Option<WorkloadOf>,
    /// Where it belongs, where Compose made it.
    pub compose: Option<ComposeOf>,
    /// Published ports, sorted; one that is published on IPv4 and on IPv6 may be there twice.
    pub ports: Vec<InstancePort>,
    /// Networks, sorted by name.
    pub networks: Vec<InstanceNetwork>,
    /// Labels, all but the copy of the component that Hythe keeps in `hythe.recipe`.
    pub labels: BTreeMap<String, String>,
    /// What labels hint at, for tools that announce, route or probe.
    pub hints: InstanceHints,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When it was last started.
    pub started: Option<Timestamp>,
    /// The engine has answered in full; else addresses, health, start and hints from the environment may be missing or old.
    pub complete: bool,
}

/// A workload's instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkloadOf {
    /// Id of the agent.
    pub agent: String,
    /// Service.
    pub service: String,
    /// Component.
    pub component: String,
    /// Workload.
    pub workload: String,
    /// Generation.
    pub generation: u64,
    /// Attempt.
    pub attempt: u32,
}

/// Compose's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ComposeOf {
    /// Project.
    pub project: String,
    /// Service.
    pub service: Option<String>,
    /// Number among the replicas, from 1.
    pub number: Option<u32>,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstancePort {
    /// Host address it listens on; `0.0.0.0` also where that is every address of both families.
    pub host_ip: String,
    /// Host port.
    pub host_port: u16,
    /// Port inside.
    pub container_port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
    /// DNS-SD type, hinted or as such a port usually has it: `_http._tcp`.
    pub service_type: Option<String>,
}

/// A network of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceNetwork {
    /// Its name.
    pub name: String,
    /// Addresses in it, sorted.
    pub addresses: Vec<String>,
}

/// What labels hint at; a field that nobody names is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InstanceHints {
    /// `false`: opted out, also by a label that cannot be read. `true`: asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_name: Option<String>,
    /// DNS-SD type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_type: Option<String>,
    /// Port inside that serves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Port for a proxy in front of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_port: Option<u16>,
    /// That proxy is for other machines too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_remote: Option<bool>,
    /// It wants a certificate of koi's mesh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certmesh: Option<bool>,
    /// `http` or `tcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_kind: Option<String>,
    /// Path of an HTTP probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_path: Option<String>,
    /// Time between probes, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_interval: Option<u64>,
    /// Time a probe may take, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_timeout: Option<u64>,
    /// Every host name a proxy routes to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Further facts to announce.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub txt: BTreeMap<String, String>,
    /// Field to the label, or variable, it was read from.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, String>,
    /// Labels that cannot be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// One event of the feed. The first is a `snapshot`; a feed that breaks begins with another one when it is asked for again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceEvent {
    /// Place in the feed, counting up; also the SSE `id`. Places of changes that the query leaves out are passed over.
    pub id: u64,
    /// Place of the event before this one in this stream: where that is not what was read last, something was lost on the way.
    pub after: Option<u64>,
    /// When it happened, by the engine's clock where an engine reported it.
    pub time: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub change: InstanceChange,
}

/// What happened; its name is also the SSE `event`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum InstanceChange {
    /// Everything there is: the first event.
    Snapshot(Box<InstanceSnapshot>),
    /// An instance was made; only where `all` is asked for.
    Created {
        /// It.
        instance: Box<FoundInstance>,
    },
    /// An instance runs.
    Started {
        /// It.
        instance: Box<FoundInstance>,
    },
    /// An instance does not run any more.
    Stopped {
        /// As it was, with its state of now.
        instance: Box<FoundInstance>,
        /// Signal it died of, by name, where it did.
        signal: Option<String>,
        /// OOM-killed.
        oom: bool,
    },
    /// Its name, state, health, networks or ports changed.
    Updated {
        /// As it is now.
        instance: Box<FoundInstance>,
        /// What changed, all of it: `rename`, `paused`, `unpaused`, `network connect <name>`, `network disconnect <name>`, `health <word>`,
        /// `addresses`, `ports`, `started` …, joined by commas.
        what: String,
    },
    /// An instance is gone; only where `all` is asked for.
    Removed {
        /// As it was.
        instance: Box<FoundInstance>,
    },
    /// A runtime does not answer; its instances are kept as they were last seen.
    #[serde(rename = "runtime.disconnected")]
    RuntimeDisconnected {
        /// Its name.
        runtime: String,
        /// Why.
        reason: String,
    },
    /// A runtime answers again, or for the first time; what changed meanwhile was reported before this.
    #[serde(rename = "runtime.reconnected")]
    RuntimeReconnected {
        /// Its name.
        runtime: String,
    },
    /// This reader was too slow and has missed changes: the last event; ask for the feed again.
    Gap {
        /// How many, at least.
        missed: u64,
    },
}

impl InstanceChange {
    /// Its name on the wire.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Snapshot(_) => "snapshot",
            Self::Created { .. } => "created",
            Self::Started { .. } => "started",
            Self::Stopped { .. } => "stopped",
            Self::Updated { .. } => "updated",
            Self::Removed { .. } => "removed",
            Self::RuntimeDisconnected { .. } => "runtime.disconnected",
            Self::RuntimeReconnected { .. } => "runtime.reconnected",
            Self::Gap { .. } => "gap",
        }
    }

    /// The instance it is about.
    pub fn instance(&self) -> Option<&FoundInstance> {
        match self {
            Self::Created { instance }
            | Self::Started { instance }
            | Self::Stopped { instance, .. }
            | Self::Updated { instance, .. }
            | Self::Removed { instance } => Some(instance),
            Self::Snapshot(_)
            | Self::RuntimeDisconnected { .. }
            | Self::RuntimeReconnected { .. }
            | Self::Gap { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn an_event_says_its_kind_beside_its_place_and_is_read_back() {
        let changes = [
            InstanceChange::Gap { missed: 3 },
            InstanceChange::RuntimeDisconnected { runtime: "r".to_owned(), reason: "gone".to_owned() },
            InstanceChange::Snapshot(Box::new(InstanceSnapshot { runtimes: Vec::new(), instances: Vec::new() })),
        ];
        for change in changes {
            let event = InstanceEvent { id: 7, after: Some(5), time: Timestamp::UNIX_EPOCH, change };
            let json = serde_json::to_value(&event).unwrap();
            assert_eq!((&json["kind"], &json["id"]), (&event.change.kind().into(), &7.into()));
            assert_eq!(serde_json::from_value::<InstanceEvent>(json).unwrap(), event);
        }
    }
}
