//! Workloads: what is desired, what is observed.

use hythe_spec::vocabulary::{Desired, DriftCause, ExitCause, HealthState, OpenEnum, WorkloadState};
use hythe_spec::{Component, Health, Protocol};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose health check is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthSource {
    /// None is: running is all there is to know.
    #[default]
    None,
    /// The component's own.
    Component,
    /// The `HEALTHCHECK` of its image: the component has none of its own.
    Image,
}

/// How a workload's last instance ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exit {
    /// Exit code; 128 + signal for death by a signal. Absent where it had none, or the engine does not know it.
    pub code: Option<i32>,
    /// Signal it died of, by name.
    pub signal: Option<String>,
    /// OOM-killed.
    pub oom: bool,
    /// The engine's words where there are any.
    pub error: Option<String>,
    /// When.
    pub at: Option<Timestamp>,
    /// Why.
    pub cause: OpenEnum<ExitCause>,
}

/// The current instance of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Instance {
    /// The engine's id.
    pub id: String,
    /// Its name in the engine.
    pub name: String,
    /// Host pid of its main process.
    pub pid: Option<u32>,
    /// Addresses in its networks, `<network>=<address>`.
    pub addresses: Vec<String>,
    /// When its main process was started.
    pub started: Option<Timestamp>,
}

/// A port as it is really published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortBinding {
    /// Host address.
    pub host_ip: String,
    /// Host port.
    pub host_port: u16,
    /// Port inside.
    pub container_port: u16,
    /// Protocol.
    pub protocol: Protocol,
}

/// One row of `GET /v1/workloads`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Workload {
    /// Workload name, `<service>-<component>`.
    pub name: String,
    /// Service.
    pub service: String,
    /// Component.
    pub component: String,
    /// Runtime of its instance; without one, the runtime it is placed on.
    pub runtime: String,
    /// Image of its instance, which after a rollback is not the desired one; without an instance, the desired image.
    pub image: String,
    /// Version shown: the image's tag.
    pub version: Option<String>,
    /// Image of its component as it was deployed, where a snapshot was restored in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_over: Option<String>,
    /// Generation of its desired state.
    pub generation: u64,
    /// Whether it should run.
    pub desired: Desired,
    /// What it does.
    pub state: WorkloadState,
    /// Result of its probes.
    pub health: HealthState,
    /// Whose check that is.
    #[serde(default)]
    pub health_source: HealthSource,
    /// Why it is in this state, where that needs saying.
    pub message: Option<String>,
    /// Its instance.
    pub instance: Option<Instance>,
    /// Ports as published.
    pub ports: Vec<PortBinding>,
    /// Restarts by the agent since this generation began.
    pub restarts: u32,
    /// Failed runs in a row; three and more are a crash loop.
    pub failures: u32,
    /// When it is tried again, where it waits for that.
    pub next_try: Option<Timestamp>,
    /// How it last ended.
    pub exit: Option<Exit>,
    /// When this row last changed.
    pub updated: Timestamp,
}

/// `GET /v1/workloads/{name}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkloadDetail {
    /// The row.
    pub workload: Workload,
    /// What is desired.
    pub desired: Component,
    /// Fingerprint of what is desired.
    pub plan_hash: String,
    /// Where it runs and why not elsewhere.
    pub placement: crate::Placement,
    /// The check of its image, where that one is done.
    #[serde(default)]
    pub image_health: Option<Health>,
    /// Why the check of its image is not done, where it has none that can be.
    #[serde(default)]
    pub image_health_error: Option<String>,
    /// What the engine says now; absent where there is no instance.
    pub observed: Option<serde_json::Value>,
    /// Why the engine could not be asked.
    pub observed_error: Option<crate::Problem>,
}

/// One workload of a service's status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkloadStatus {
    /// The row.
    pub workload: Workload,
    /// Where desired and observed differ; empty: nowhere.
    pub differences: Vec<Difference>,
}

/// One difference between desired and observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// Field of the component, for a part of it with its key (`memory`, `env.MODE`, `mounts./data`, `ports.80/tcp`), or
    /// `state`, `name` (of the instance), `generation`, `instance` (one too many).
    pub field: String,
    /// What is desired.
    pub desired: serde_json::Value,
    /// What is observed.
    pub observed: serde_json::Value,
    /// Why they differ.
    pub cause: OpenEnum<DriftCause>,
}

/// `GET /v1/workloads/{name}/stats`: resource use at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// Workload name.
    pub workload: String,
    /// Processor time used so far, in nanoseconds.
    pub cpu_nanos: u64,
    /// Processor use since the sample before, in millicores; absent for the first.
    pub cpu_millicores: Option<u64>,
    /// Memory in use, in bytes.
    pub memory_bytes: u64,
    /// Memory limit in bytes.
    pub memory_limit: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Bytes received.
    pub network_rx_bytes: Option<u64>,
    /// Bytes sent.
    pub network_tx_bytes: Option<u64>,
    /// Bytes read from block devices.
    pub block_read_bytes: Option<u64>,
    /// Bytes written to block devices.
    pub block_write_bytes: Option<u64>,
}
