//! `podman container inspect`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hythe_runtime::{Identity, InstanceId};
use serde::Deserialize;

use super::{nullable, present};

/// One element of `podman container inspect`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) created: Option<String>,
    #[serde(default)]
    pub(crate) path: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) args: Vec<String>,
    pub(crate) state: ContainerState,
    #[serde(default)]
    pub(crate) image: String,
    #[serde(default)]
    pub(crate) image_name: String,
    #[serde(default)]
    pub(crate) pod: String,
    #[serde(default)]
    pub(crate) restart_count: u32,
    #[serde(default)]
    pub(crate) conmon_pid_file: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) mounts: Vec<MountDocument>,
    #[serde(default)]
    pub(crate) network_settings: NetworkSettings,
    /// The complete set; `null`: none; absent: not reported.
    #[serde(default, deserialize_with = "present")]
    pub(crate) bounding_caps: Option<Vec<String>>,
    pub(crate) config: ContainerConfig,
    pub(crate) host_config: HostConfig,
}

/// `State`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainerState {
    pub(crate) status: String,
    #[serde(default, rename = "OOMKilled")]
    pub(crate) oom_killed: bool,
    #[serde(default)]
    pub(crate) pid: u32,
    #[serde(default)]
    pub(crate) conmon_pid: u32,
    #[serde(default)]
    pub(crate) exit_code: i32,
    #[serde(default)]
    pub(crate) error: String,
    #[serde(default)]
    pub(crate) started_at: Option<String>,
    #[serde(default)]
    pub(crate) finished_at: Option<String>,
    #[serde(default)]
    pub(crate) cgroup_path: String,
    /// Podman 3 has it under the other name.
    #[serde(default, alias = "Healthcheck", deserialize_with = "nullable")]
    pub(crate) health: HealthDocument,
}

/// What podman's own check says; empty without one.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HealthDocument {
    #[serde(default)]
    pub(crate) status: String,
}

/// `Config`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainerConfig {
    #[serde(default)]
    pub(crate) hostname: String,
    #[serde(default)]
    pub(crate) user: String,
    #[serde(default)]
    pub(crate) tty: bool,
    #[serde(default)]
    pub(crate) open_stdin: bool,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) env: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) cmd: Vec<String>,
    #[serde(default)]
    pub(crate) working_dir: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) labels: BTreeMap<String, String>,
    /// A number, or from podman 5 on a name.
    #[serde(default)]
    pub(crate) stop_signal: serde_json::Value,
    /// Seconds.
    #[serde(default)]
    pub(crate) stop_timeout: Option<u64>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) annotations: BTreeMap<String, String>,
    /// The command line that made it; absent where that was no command line.
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) create_command: Vec<String>,
}

/// `HostConfig`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HostConfig {
    #[serde(default)]
    pub(crate) log_config: LogConfig,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) tmpfs: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) readonly_rootfs: bool,
    #[serde(default)]
    pub(crate) shm_size: u64,
    #[serde(default)]
    pub(crate) memory: i64,
    #[serde(default)]
    pub(crate) nano_cpus: i64,
    #[serde(default)]
    pub(crate) cpu_period: i64,
    #[serde(default)]
    pub(crate) cpu_quota: i64,
    #[serde(default)]
    pub(crate) pids_limit: i64,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) ulimits: Vec<UlimitDocument>,
    #[serde(default)]
    pub(crate) network_mode: String,
    #[serde(default)]
    pub(crate) restart_policy: RestartDocument,
    #[serde(default)]
    pub(crate) auto_remove: bool,
    #[serde(default)]
    pub(crate) privileged: bool,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) security_opt: Vec<String>,
    #[serde(default)]
    pub(crate) init: bool,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) dns: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) extra_hosts: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) dns_search: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) dns_options: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) devices: Vec<serde_json::Value>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) group_add: Vec<String>,
    #[serde(default)]
    pub(crate) pid_mode: String,
    #[serde(default)]
    pub(crate) ipc_mode: String,
    #[serde(default, rename = "UTSMode")]
    pub(crate) uts_mode: String,
    #[serde(default)]
    pub(crate) userns_mode: String,
}

/// How podman itself starts it again.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RestartDocument {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) maximum_retry_count: u64,
}

/// Where the log is.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LogConfig {
    #[serde(default, rename = "Type")]
    pub(crate) driver: String,
    #[serde(default)]
    pub(crate) path: String,
}

impl LogConfig {
    /// Whether conmon writes a file of its own format; podman calls it by both names.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.driver.as_str(), "k8s-file" | "json-file")
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UlimitDocument {
    pub(crate) name: String,
    pub(crate) soft: i64,
    pub(crate) hard: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MountDocument {
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) source: String,
    pub(crate) destination: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) options: Vec<String>,
    #[serde(default, rename = "RW")]
    pub(crate) writable: bool,
    #[serde(default)]
    pub(crate) propagation: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NetworkSettings {
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) ports: BTreeMap<String, Option<Vec<Binding>>>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) networks: BTreeMap<String, Connection>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Binding {
    #[serde(default)]
    pub(crate) host_ip: String,
    #[serde(default)]
    pub(crate) host_port: String,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Connection {
    #[serde(default, rename = "IPAddress")]
    pub(crate) v4: String,
    #[serde(default, rename = "GlobalIPv6Address")]
    pub(crate) v6: String,
    #[serde(default, rename = "Aliases", deserialize_with = "nullable")]
    pub(crate) aliases: Vec<String>,
}

impl Container {
    pub(crate) fn instance(&self) -> InstanceId {
        InstanceId(self.id.clone())
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        Identity::from_labels(&self.config.labels)
    }

    /// File in which the OCI runtime says why a start failed.
    pub(crate) fn runtime_log(&self) -> Option<PathBuf> {
        let pid_file = Path::new(&self.conmon_pid_file);
        pid_file.parent().filter(|dir| dir.is_absolute()).map(|dir| dir.join("oci-log"))
    }
}
