//! The wire between Hythe's agent and everybody who talks to it: request, response, error and event types, paths, the OpenAPI document.
//!
//! For: types that serialise, and the table of operations. Not for: serving or calling them (see `agent` and `client`).
//! JSON throughout; times are RFC 3339, sizes bytes, processor time millicores or nanoseconds, durations milliseconds.

pub mod archive;
pub mod event;
pub mod health;
pub mod image;
pub mod instances;
pub mod logs;
pub mod maintenance;
pub mod openapi;
pub mod operation;
pub mod paths;
pub mod problem;
pub mod runtime;
pub mod secrets;
pub mod service;
pub mod snapshot;
pub mod stream;
pub mod workload;

pub use archive::{ArchiveStart, ArchiveWay, FileInfo, FileKind, FileQuery};
pub use event::Event;
pub use health::{Condition, Health, HealthReason};
pub use hythe_spec::vocabulary::{
    ComponentAction, Desired, DriftCause, EventKind, ExitCause, HealthState, OpenEnum, OperationKind, OperationState,
    ProgressPhase, Vocabulary, WorkloadState,
};
pub use image::{
    BuildImage, Image, ImageDetail, ImageQuery, ImagesQuery, LoadImages, NotPruned, PruneImages, PrunedImages,
    PullImage, PushImage, RemoteImage, RemoveImageQuery, RuntimeQuery, TagImage,
};
pub use instances::{
    ComposeOf, FoundInstance, InstanceChange, InstanceEvent, InstanceHints, InstanceNetwork, InstancePort,
    InstanceQuery, InstanceSnapshot, InstanceState, RuntimeConnection, WorkloadOf,
};
pub use logs::{LogLine, LogQuery, StdStream};
pub use maintenance::{Adopt, Adopted, Collected, Garbage, Gc, GcQuery, NotCollected, Purge, PurgeOutcome, Purged};
pub use openapi::{Method, OPERATIONS, Operation as ApiOperation, document};
pub use operation::{Operation, Progress};
pub use problem::{FieldProblem, Problem};
pub use runtime::{FeatureSupport, Runtime};
pub use secrets::{SecretDetail, SecretRow, SecretsQuery, SetSecret, SetSecretOutcome};
pub use service::{
    ComponentPlan, Deploy, DeployOutcome, DeployQuery, Explain, Explained, Kill, Placement, Rejection, Scope,
    ServiceDetail, ServiceRow, ServiceStatus, Undeploy,
};
pub use snapshot::{CreateSnapshot, RestoreSnapshot, Snapshot, SnapshotDetail, SnapshotMount, SnapshotQuery};
pub use stream::{AttachStart, ExecStart, SessionEnd, Size, channel};
pub use workload::{
    Difference, Exit, HealthSource, Instance, PortBinding, Stats, Workload, WorkloadDetail, WorkloadStatus,
};

/// Version of the API, the first part of every path but the service ones (`/healthz`, `/metrics`).
pub const VERSION: &str = "v1";

/// What `GET /v1/version` answers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Version {
    /// Version of the agent.
    pub version: String,
    /// Id of the agent, as in the `hythe.owner` label.
    pub owner: String,
    /// Process id of the agent.
    pub pid: u32,
    /// When it started.
    pub started: jiff::Timestamp,
    /// Directory with its state.
    pub state_dir: String,
    /// What is wrong with the agent as a whole, for people; empty: nothing.
    pub warnings: Vec<String>,
}
