//! Snapshots: the files of workloads' instances, kept as images.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Problem;

/// Body of `POST /v1/snapshots`; the answer is an operation whose result names the image (`image`, `runtime`, `id`, `size`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateSnapshot {
    /// The workload whose files are kept.
    pub workload: String,
    /// Name of the snapshot, as an image's tag; absent: the next number.
    #[serde(default)]
    pub name: Option<String>,
}

/// Body of `POST /v1/workloads/{name}/restore`; the answer is an operation whose result names the image (`image`, `runtime`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RestoreSnapshot {
    /// Name of the workload's snapshot: `2`, `before-2.0`; absent: the newest one.
    pub snapshot: Option<String>,
}

/// Query of `GET /v1/snapshots`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SnapshotQuery {
    /// Name of the runtime; absent: every one that answers.
    pub runtime: Option<String>,
    /// Only this service's.
    pub service: Option<String>,
}

/// One row of `GET /v1/snapshots`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Snapshot {
    /// Its name, and its image (`localhost/hythe/shop/web:1`).
    pub name: String,
    /// The service whose files it holds.
    pub service: String,
    /// The component.
    pub component: String,
    /// The workload.
    pub workload: String,
    /// Runtime that has it.
    pub runtime: String,
    /// Digest of the image's configuration.
    pub id: String,
    /// Bytes as the engine counts them, the layers below included.
    pub size: u64,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Generation of the instance it was made of.
    pub generation: u64,
    /// Attempt of the instance it was made of.
    pub attempt: u32,
}

/// One snapshot, and how its host can mount its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotDetail {
    /// The snapshot.
    #[serde(flatten)]
    pub snapshot: Snapshot,
    /// Mounts that show its files, read-only.
    pub mounts: Vec<SnapshotMount>,
    /// Why there are none.
    pub problem: Option<Problem>,
}

/// A mount, as mount(2) takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotMount {
    /// Type of file system: `overlay`, or `bind`.
    pub kind: String,
    /// What is mounted; for `overlay` only a word.
    pub source: String,
    /// Options, always with `ro`.
    pub options: Vec<String>,
}
