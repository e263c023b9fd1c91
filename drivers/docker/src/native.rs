//! What the engine answers, reduced to what is used, and tolerant: any string for a state, null for an empty list, additional keys.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// `null` and absent are empty.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// One string, several, or none.
fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Strings {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Option::<Strings>::deserialize(from)? {
        None => Vec::new(),
        Some(Strings::One(text)) => vec![text],
        Some(Strings::Many(list)) => list,
    })
}

/// Body of an error answer.
#[derive(Debug, Deserialize)]
pub(crate) struct ErrorMessage {
    pub(crate) message: String,
}

/// `GET /info`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Info {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) server_version: String,
    /// Facts of the storage driver, in pairs.
    #[serde(deserialize_with = "or_default")]
    pub(crate) driver_status: Vec<Vec<String>>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) memory_limit: bool,
    #[serde(deserialize_with = "or_default")]
    pub(crate) swap_limit: bool,
    #[serde(deserialize_with = "or_default")]
    pub(crate) cpu_cfs_quota: bool,
    #[serde(deserialize_with = "or_default")]
    pub(crate) pids_limit: bool,
    #[serde(deserialize_with = "or_default")]
    pub(crate) rootless: bool,
    /// Name of the engine's host.
    #[serde(deserialize_with = "or_default")]
    pub(crate) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) docker_root_dir: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) system_time: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) security_options: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) warnings: Vec<String>,
}

impl Info {
    /// Images are containerd's, not the engine's own.
    pub(crate) fn keeps_images_in_containerd(&self) -> bool {
        self.driver_status.iter().flatten().any(|word| word.starts_with("io.containerd.snapshotter"))
    }
}

/// One row of `GET /containers/json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Row {
    pub(crate) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) names: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) image: String,
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
    pub(crate) devices: Vec<serde_json::Value>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) device_requests: Vec<serde_json::Value>,
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

/// An image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ImageRow {
    pub(crate) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) repo_tags: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) repo_digests: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) size: u64,
    /// Seconds in a list, a time of day in an inspect.
    pub(crate) created: serde_json::Value,
    /// Absent in a list.
    pub(crate) config: Option<ContainerConfig>,
}

/// A network.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Network {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) created: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) driver: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(rename = "IPAM", deserialize_with = "or_default")]
    pub(crate) ipam: Ipam,
}

/// Addresses of a network.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Ipam {
    #[serde(deserialize_with = "or_default")]
    pub(crate) config: Vec<Subnet>,
}

/// A subnet of a network.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Subnet {
    #[serde(deserialize_with = "or_default")]
    pub(crate) subnet: String,
}

/// A volume.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Volume {
    pub(crate) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) mountpoint: String,
}

/// `GET /volumes`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Volumes {
    #[serde(deserialize_with = "or_default")]
    pub(crate) volumes: Vec<Volume>,
}

/// Answer to a create.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Created {
    #[serde(rename = "Id", alias = "ID", alias = "id")]
    pub(crate) id: String,
    #[serde(rename = "Warnings", default, deserialize_with = "or_default")]
    pub(crate) warnings: Vec<String>,
}

/// `GET /exec/{id}/json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ExecState {
    #[serde(deserialize_with = "or_default")]
    pub(crate) running: bool,
    pub(crate) exit_code: Option<i32>,
}

/// One event.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawEvent {
    #[serde(rename = "Type", deserialize_with = "or_default")]
    pub(crate) kind: String,
    #[serde(rename = "Action", deserialize_with = "or_default")]
    pub(crate) action: String,
    #[serde(rename = "Actor")]
    pub(crate) actor: Actor,
    #[serde(rename = "time", deserialize_with = "or_default")]
    pub(crate) seconds: i64,
    #[serde(rename = "timeNano", deserialize_with = "or_default")]
    pub(crate) nanos: i64,
}

/// Whom an event is about.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Actor {
    #[serde(rename = "ID", deserialize_with = "or_default")]
    pub(crate) id: String,
    #[serde(rename = "Attributes", deserialize_with = "or_default")]
    pub(crate) attributes: BTreeMap<String, String>,
}

/// One line of a pull, push or build.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Report {
    pub(crate) id: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) stream: Option<String>,
    pub(crate) error: Option<String>,
    #[serde(rename = "progressDetail", deserialize_with = "or_default")]
    pub(crate) detail: ReportDetail,
    pub(crate) aux: Option<serde_json::Value>,
}

/// How far something has come.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ReportDetail {
    pub(crate) current: Option<i64>,
    pub(crate) total: Option<i64>,
}

/// `GET /containers/{id}/stats`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawStats {
    #[serde(deserialize_with = "or_default")]
    pub(crate) read: String,
    pub(crate) cpu_stats: RawCpu,
    pub(crate) memory_stats: RawMemory,
    #[serde(deserialize_with = "or_default")]
    pub(crate) pids_stats: RawPids,
    pub(crate) networks: Option<BTreeMap<String, RawInterface>>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) blkio_stats: RawBlocks,
}

/// Processor part of a sample.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawCpu {
    pub(crate) cpu_usage: RawCpuUsage,
}

/// Processor time of a sample.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawCpuUsage {
    pub(crate) total_usage: u64,
}

/// Memory part of a sample.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawMemory {
    #[serde(deserialize_with = "or_default")]
    pub(crate) usage: u64,
    #[serde(deserialize_with = "or_default")]
    pub(crate) limit: u64,
    #[serde(deserialize_with = "or_default")]
    pub(crate) stats: BTreeMap<String, serde_json::Value>,
}

/// Processes of a sample.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawPids {
    pub(crate) current: Option<u64>,
}

/// One interface of a sample.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawInterface {
    pub(crate) rx_bytes: u64,
    pub(crate) tx_bytes: u64,
}

/// Block devices of a sample.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawBlocks {
    pub(crate) io_service_bytes_recursive: Option<Vec<RawBlock>>,
}

/// One count of a block device.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawBlock {
    pub(crate) op: String,
    pub(crate) value: u64,
}
