//! Containers, listed and inspected, and processes in them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{one_or_many, or_default};

/// One row of `GET /containers/json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ContainerRow {
    pub(crate) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) names: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) image: String,
    #[serde(rename = "ImageID", deserialize_with = "or_default")]
    pub(crate) image_id: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) created: i64,
    #[serde(deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) state: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) status: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) ports: Vec<RowPort>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) network_settings: RowNetworks,
}

/// A port of a row.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct RowPort {
    #[serde(rename = "IP", deserialize_with = "or_default")]
    pub(crate) ip: String,
    pub(crate) private_port: u16,
    #[serde(deserialize_with = "or_default")]
    pub(crate) public_port: u16,
    #[serde(rename = "Type", deserialize_with = "or_default")]
    pub(crate) protocol: String,
}

/// Networks of a row.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct RowNetworks {
    #[serde(deserialize_with = "or_default")]
    pub(crate) networks: BTreeMap<String, serde_json::Value>,
}

/// `GET /containers/{id}/json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) created: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) image: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) restart_count: u32,
    pub(crate) state: ContainerState,
    pub(crate) config: ContainerConfig,
    pub(crate) host_config: ContainerHostConfig,
    #[serde(deserialize_with = "or_default")]
    pub(crate) mounts: Vec<ContainerMount>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) network_settings: ContainerNetworks,
}

/// State of a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ContainerState {
    pub(crate) status: String,
    #[serde(rename = "OOMKilled", deserialize_with = "or_default")]
    pub(crate) oom_killed: bool,
    #[serde(deserialize_with = "or_default")]
    pub(crate) pid: u32,
    #[serde(deserialize_with = "or_default")]
    pub(crate) exit_code: i32,
    #[serde(deserialize_with = "or_default")]
    pub(crate) error: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) started_at: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) finished_at: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) health: ContainerHealth,
}

/// What the engine's own check says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ContainerHealth {
    #[serde(deserialize_with = "or_default")]
    pub(crate) status: String,
}

/// Configuration of a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ContainerConfig {
    #[serde(deserialize_with = "or_default")]
    pub(crate) hostname: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) user: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) tty: bool,
    #[serde(deserialize_with = "or_default")]
    pub(crate) open_stdin: bool,
    #[serde(deserialize_with = "or_default")]
    pub(crate) env: Vec<String>,
    #[serde(deserialize_with = "one_or_many")]
    pub(crate) cmd: Vec<String>,
    #[serde(deserialize_with = "one_or_many")]
    pub(crate) entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) image: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) working_dir: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
    /// A name, or a number where Podman answers.
    pub(crate) stop_signal: serde_json::Value,
    /// Seconds.
    pub(crate) stop_timeout: Option<i64>,
    pub(crate) healthcheck: serde_json::Value,
}

/// What the host gives a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ContainerHostConfig {
    #[serde(deserialize_with = "or_default")]
    pub(crate) memory: i64,
    #[serde(deserialize_with = "or_default")]
    pub(crate) nano_cpus: i64,
    #[serde(deserialize_with = "or_default")]
    pub(crate) cpu_quota: i64,
    #[serde(deserialize_with = "or_default")]
    pub(crate) cpu_period: i64,
    #[serde(deserialize_with = "or_default")]
    pub(crate) pids_limit: i64,
    #[serde(deserialize_with = "or_default")]
    pub(crate) shm_size: i64,
    #[serde(deserialize_with = "or_default")]
    pub(crate) ulimits: Vec<ContainerUlimit>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) readonly_rootfs: bool,
    #[serde(deserialize_with = "or_default")]
    pub(crate) tmpfs: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) mounts: Vec<ContainerMountPoint>,
    /// `source:target[:options]`.
    #[serde(deserialize_with = "or_default")]
    pub(crate) binds: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) network_mode: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) restart_policy: ContainerRestart,
    #[serde(deserialize_with = "or_default")]
    pub(crate) auto_remove: bool,
    #[serde(deserialize_with = "or_default")]
    pub(crate) privileged: bool,
    #[serde(deserialize_with = "or_default")]
    pub(crate) cap_add: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) cap_drop: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) security_opt: Vec<String>,
    pub(crate) init: Option<bool>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) dns: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) extra_hosts: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) dns_search: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) dns_options: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) devices: Vec<ContainerDevice>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) device_requests: Vec<ContainerDeviceRequest>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) pid_mode: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) ipc_mode: String,
    #[serde(rename = "UTSMode", deserialize_with = "or_default")]
    pub(crate) uts_mode: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) userns_mode: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) sysctls: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) group_add: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) log_config: ContainerLog,
}

/// A device as it was asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ContainerDevice {
    #[serde(deserialize_with = "or_default")]
    pub(crate) path_on_host: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) path_in_container: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) cgroup_permissions: String,
}

/// Devices that were asked for by other words than their paths.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ContainerDeviceRequest {
    #[serde(deserialize_with = "or_default")]
    pub(crate) driver: String,
    #[serde(rename = "DeviceIDs", deserialize_with = "or_default")]
    pub(crate) device_ids: Vec<String>,
}

/// Where the log goes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ContainerLog {
    #[serde(deserialize_with = "or_default")]
    pub(crate) config: BTreeMap<String, String>,
}

/// How the engine itself starts a container again.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ContainerRestart {
    #[serde(deserialize_with = "or_default")]
    pub(crate) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) maximum_retry_count: i64,
}

/// A mount as it was asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ContainerMountPoint {
    #[serde(rename = "Type", deserialize_with = "or_default")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) source: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) target: String,
}

/// A limit of a container's processes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ContainerUlimit {
    pub(crate) name: String,
    /// Podman says unlimited with the largest unsigned number.
    pub(crate) soft: serde_json::Value,
    /// As `soft`.
    pub(crate) hard: serde_json::Value,
}

/// A mount of a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ContainerMount {
    #[serde(rename = "Type", deserialize_with = "or_default")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) source: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) destination: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) mode: String,
    #[serde(rename = "RW", deserialize_with = "or_default")]
    pub(crate) rw: bool,
    #[serde(deserialize_with = "or_default")]
    pub(crate) propagation: String,
}

/// Networks and ports of a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ContainerNetworks {
    #[serde(deserialize_with = "or_default")]
    pub(crate) ports: BTreeMap<String, Option<Vec<Binding>>>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) networks: BTreeMap<String, ContainerEndpoint>,
}

/// Where a port is published.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Binding {
    #[serde(deserialize_with = "or_default")]
    pub(crate) host_ip: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) host_port: String,
}

/// A container in a network.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ContainerEndpoint {
    #[serde(rename = "IPAddress", deserialize_with = "or_default")]
    pub(crate) ip_address: String,
    #[serde(rename = "GlobalIPv6Address", deserialize_with = "or_default")]
    pub(crate) global_ipv6_address: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) aliases: Vec<String>,
}

/// `GET /exec/{id}/json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ExecState {
    #[serde(deserialize_with = "or_default")]
    pub(crate) running: bool,
    pub(crate) exit_code: Option<i32>,
    /// In the engine's own pid namespace; 0 until there is one.
    pub(crate) pid: Option<i32>,
    #[serde(rename = "ContainerID")]
    pub(crate) container: Option<String>,
}
