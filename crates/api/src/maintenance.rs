//! Adopting, purging and garbage collection.

use hythe_spec::Service;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Problem;

/// Body of `POST /v1/adopt`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Adopt {
    /// Name or id of the container in its engine.
    pub instance: String,
    /// Name of the runtime; absent: the only one that has it.
    #[serde(default)]
    pub runtime: Option<String>,
    /// Service to put it in; absent: named after its Compose project, else after the container.
    #[serde(default)]
    pub service: Option<String>,
    /// Component it becomes; absent: named after its Compose service, else after the container.
    #[serde(default)]
    pub component: Option<String>,
    /// Also what Compose made, what its engine restarts, and what its engine removes at its end.
    #[serde(default)]
    pub force: bool,
}

/// A container that was taken over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Adopted {
    /// Its workload.
    pub workload: String,
    /// Name of its runtime.
    pub runtime: String,
    /// The engine's id of it.
    pub instance: String,
    /// The service as it is described now.
    pub service: Service,
    /// What should be known, for people.
    pub warnings: Vec<String>,
}

/// Body of `POST /v1/purge`: every service that is not named is removed where it is at rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Purge {
    /// Names of the services that are described, and stay.
    pub described: Vec<String>,
    /// Also remove the volumes that the services own, with their data.
    #[serde(default)]
    pub volumes: bool,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a purge does, or would do, with one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Purged {
    /// The service.
    pub service: String,
    /// What happens to it.
    pub outcome: PurgeOutcome,
    /// Its workloads.
    pub workloads: Vec<String>,
    /// Its own volumes that go with it.
    pub volumes: Vec<String>,
    /// Why it stays.
    pub problem: Option<Problem>,
    /// The operation that removes it.
    pub operation: Option<String>,
}

/// What a purge does with a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PurgeOutcome {
    /// It is being removed.
    Accepted,
    /// It would be removed (dry run).
    Planned,
    /// It stays: it runs, or its engine could not be asked.
    Refused,
}

/// Body of `POST /v1/gc`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Gc {
    /// Volumes too, with their data.
    pub volumes: bool,
    /// Milliseconds: collect images that the agent pulled, loaded or built and that have been unused for so long; absent: as configured.
    pub images_older_than: Option<u64>,
}

/// Query of `GET /v1/gc`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GcQuery {
    /// As in the body of `POST /v1/gc`.
    pub images_older_than: Option<u64>,
}

/// An orphaned object of this agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Garbage {
    /// `instance`, `network`, `volume`, `file` or `image`.
    pub kind: String,
    /// Name of the runtime that has it; absent for files.
    pub runtime: Option<String>,
    /// Its name, or path.
    pub name: String,
    /// The engine's id, or the name where there is none.
    pub id: String,
    /// The service it says it belongs to.
    pub service: Option<String>,
    /// Why it is orphaned.
    pub reason: String,
    /// When it was first seen orphaned.
    pub first_seen: Timestamp,
    /// Consecutive scans in which it was orphaned; those at almost the same moment count once.
    pub looks: u32,
    /// When it was made, where its engine says it.
    pub created: Option<Timestamp>,
    /// It is eligible: the next collection removes it.
    pub ripe: bool,
}

/// What a collection did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Collected {
    /// What was removed.
    pub removed: Vec<Garbage>,
    /// What could not be removed.
    pub failed: Vec<NotCollected>,
    /// What is not eligible yet.
    pub waiting: Vec<Garbage>,
}

/// Something that could not be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotCollected {
    /// What.
    pub garbage: Garbage,
    /// Why.
    pub problem: Problem,
}
