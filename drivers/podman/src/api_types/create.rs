//! What makes a container: Podman's `SpecGenerator`, as far as we write it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

/// The body of a create. What is absent is podman's own choice.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct ContainerSpec {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) raw_image_name: String,
    pub(crate) image_volume_mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) command: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) terminal: bool,
    pub(crate) stdin: bool,
    pub(crate) init: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop_signal: Option<u8>,
    /// Seconds.
    pub(crate) stop_timeout: u64,
    pub(crate) log_configuration: LogConfiguration,
    pub(crate) restart_policy: &'static str,
    pub(crate) systemd: &'static str,
    #[serde(rename = "sdnotifyMode")]
    pub(crate) sdnotify_mode: &'static str,
    pub(crate) httpproxy: bool,
    pub(crate) healthconfig: HealthConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) work_dir: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) groups: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) sysctl: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) devices: Vec<DeviceSpec>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) mounts: Vec<MountSpec>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) volumes: Vec<VolumeMount>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shm_size: Option<u64>,
    pub(crate) read_only_filesystem: bool,
    /// Podman since 5; the older ones do only what they are told.
    pub(crate) read_write_tmpfs: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) cap_add: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) cap_drop: Vec<String>,
    pub(crate) privileged: bool,
    pub(crate) no_new_privileges: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seccomp_profile_path: Option<String>,
    pub(crate) netns: Namespace,
    #[serde(rename = "Networks", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) networks: BTreeMap<String, NetworkOptions>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) portmappings: Vec<PortMapping>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) dns_server: Vec<IpAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) dns_search: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) dns_option: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) hostadd: Vec<String>,
    pub(crate) resource_limits: ResourceLimits,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) r_limits: Vec<RlimitSpec>,
    /// Podman keeps it, and tells it when the container is inspected.
    #[serde(rename = "containerCreateCommand")]
    pub(crate) create_command: Vec<String>,
}

/// Where the output goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct LogConfiguration {
    pub(crate) driver: &'static str,
    /// Bytes.
    pub(crate) size: u64,
}

/// Podman's own check.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct HealthConfig {
    #[serde(rename = "Test")]
    pub(crate) test: Vec<&'static str>,
}

/// A device: host path, path in the container and permissions in one text, or the name of a CDI device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct DeviceSpec {
    pub(crate) path: String,
}

/// A mount of the OCI runtime.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct MountSpec {
    pub(crate) destination: String,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) source: String,
    pub(crate) options: Vec<String>,
}

/// A named volume.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct VolumeMount {
    pub(crate) name: String,
    pub(crate) dest: String,
    pub(crate) options: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Namespace {
    pub(crate) nsmode: &'static str,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct NetworkOptions {
    pub(crate) aliases: Vec<String>,
}

/// A published port; host port 0: podman's choice.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PortMapping {
    pub(crate) host_ip: String,
    pub(crate) container_port: u16,
    pub(crate) host_port: u16,
    pub(crate) range: u16,
    pub(crate) protocol: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct ResourceLimits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<MemoryLimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu: Option<CpuLimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pids: Option<PidsLimit>,
}

/// Bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct MemoryLimit {
    pub(crate) limit: u64,
    pub(crate) swap: u64,
}

/// Microseconds of a period.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CpuLimit {
    pub(crate) quota: u64,
    pub(crate) period: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PidsLimit {
    pub(crate) limit: u32,
}

/// The largest number is no limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RlimitSpec {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}
