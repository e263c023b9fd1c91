//! `podman container inspect`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hythe_runtime::{Exit, Identity, InstanceId, State};
use jiff::Timestamp;
use serde::Deserialize;

use super::{nullable, state, time, told};

/// One element of `podman container inspect`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(super) created: Option<String>,
    #[serde(default)]
    pub(super) path: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) args: Vec<String>,
    pub(crate) state: ContainerState,
    #[serde(default)]
    pub(super) image: String,
    #[serde(default)]
    pub(super) image_name: String,
    #[serde(default)]
    pub(super) pod: String,
    #[serde(default)]
    pub(super) restart_count: u32,
    #[serde(default)]
    pub(super) conmon_pid_file: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) mounts: Vec<MountDocument>,
    #[serde(default)]
    pub(super) network_settings: NetworkSettings,
    /// The complete set; `null`: none; absent: not told.
    #[serde(default, deserialize_with = "told")]
    pub(super) bounding_caps: Option<Vec<String>>,
    pub(crate) config: ContainerConfig,
    pub(crate) host_config: HostConfig,
}

/// `State`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainerState {
    pub(crate) status: String,
    #[serde(default, rename = "OOMKilled")]
    pub(super) oom_killed: bool,
    #[serde(default)]
    pub(crate) pid: u32,
    #[serde(default)]
    pub(crate) conmon_pid: u32,
    #[serde(default)]
    pub(super) exit_code: i32,
    #[serde(default)]
    pub(super) error: String,
    #[serde(default)]
    pub(super) started_at: Option<String>,
    #[serde(default)]
    pub(super) finished_at: Option<String>,
    #[serde(default)]
    pub(crate) cgroup_path: String,
    /// Podman 3 has it under the other name.
    #[serde(default, alias = "Healthcheck", deserialize_with = "nullable")]
    pub(super) health: HealthDocument,
}

/// What podman's own check says; empty without one.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HealthDocument {
    #[serde(default)]
    pub(super) status: String,
}

/// `Config`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainerConfig {
    #[serde(default)]
    pub(super) hostname: String,
    #[serde(default)]
    pub(super) user: String,
    #[serde(default)]
    pub(crate) tty: bool,
    #[serde(default)]
    pub(crate) open_stdin: bool,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) env: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) cmd: Vec<String>,
    #[serde(default)]
    pub(super) working_dir: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) labels: BTreeMap<String, String>,
    /// A number, or from podman 5 on a name.
    #[serde(default)]
    pub(crate) stop_signal: serde_json::Value,
    /// Seconds.
    #[serde(default)]
    pub(super) stop_timeout: Option<u64>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) annotations: BTreeMap<String, String>,
    /// The command line that made it; absent where that was no command line.
    #[serde(default, deserialize_with = "nullable")]
    pub(super) create_command: Vec<String>,
}

/// `HostConfig`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HostConfig {
    #[serde(default)]
    pub(crate) log_config: LogConfig,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) tmpfs: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) readonly_rootfs: bool,
    #[serde(default)]
    pub(super) shm_size: u64,
    #[serde(default)]
    pub(super) memory: i64,
    #[serde(default)]
    pub(super) nano_cpus: i64,
    #[serde(default)]
    pub(super) cpu_period: i64,
    #[serde(default)]
    pub(super) cpu_quota: i64,
    #[serde(default)]
    pub(super) pids_limit: i64,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) ulimits: Vec<UlimitDocument>,
    #[serde(default)]
    pub(super) network_mode: String,
    #[serde(default)]
    pub(super) restart_policy: RestartDocument,
    #[serde(default)]
    pub(super) auto_remove: bool,
    #[serde(default)]
    pub(super) privileged: bool,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) security_opt: Vec<String>,
    #[serde(default)]
    pub(super) init: bool,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) dns: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) extra_hosts: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) devices: Vec<serde_json::Value>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) group_add: Vec<String>,
    #[serde(default)]
    pub(super) pid_mode: String,
    #[serde(default)]
    pub(super) ipc_mode: String,
    #[serde(default, rename = "UTSMode")]
    pub(super) uts_mode: String,
    #[serde(default)]
    pub(super) userns_mode: String,
}

/// How podman itself starts it again.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RestartDocument {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) maximum_retry_count: u64,
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

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UlimitDocument {
    pub(super) name: String,
    pub(super) soft: i64,
    pub(super) hard: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MountDocument {
    #[serde(rename = "Type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) source: String,
    pub(super) destination: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) options: Vec<String>,
    #[serde(default, rename = "RW")]
    pub(super) writable: bool,
    #[serde(default)]
    pub(super) propagation: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NetworkSettings {
    #[serde(default, deserialize_with = "nullable")]
    pub(super) ports: BTreeMap<String, Option<Vec<Binding>>>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) networks: BTreeMap<String, Connection>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Binding {
    #[serde(default)]
    pub(super) host_ip: String,
    #[serde(default)]
    pub(super) host_port: String,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Connection {
    #[serde(default, rename = "IPAddress")]
    pub(super) v4: String,
    #[serde(default, rename = "GlobalIPv6Address")]
    pub(super) v6: String,
    #[serde(default, rename = "Aliases", deserialize_with = "nullable")]
    pub(super) aliases: Vec<String>,
}

impl Container {
    pub(crate) fn state(&self) -> State {
        state(&self.state.status)
    }

    pub(crate) fn instance(&self) -> InstanceId {
        InstanceId(self.id.clone())
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        Identity::from_labels(&self.config.labels)
    }

    /// When its main process was last started; `None`: never.
    pub(crate) fn started(&self) -> Option<Timestamp> {
        time(self.state.started_at.as_deref())
    }

    /// When the monitor of its last run began, before the first word of its main process; podman notes its own time of
    /// starting only after that. A look at a file.
    pub(crate) fn monitored(&self) -> Option<Timestamp> {
        let written = std::fs::metadata(&self.conmon_pid_file).and_then(|file| file.modified()).ok()?;
        Timestamp::try_from(written).ok()
    }

    /// File in which the OCI runtime says why a start failed.
    pub(crate) fn runtime_log(&self) -> Option<PathBuf> {
        let pid_file = Path::new(&self.conmon_pid_file);
        pid_file.parent().filter(|dir| dir.is_absolute()).map(|dir| dir.join("oci-log"))
    }

    /// How it ended, as podman says it.
    pub(crate) fn exit(&self) -> Option<Exit> {
        (self.state() == State::Exited).then(|| Exit {
            oom: self.state.oom_killed,
            error: Some(self.state.error.clone()).filter(|error| !error.is_empty()),
            ..Exit::from_code(self.state.exit_code)
        })
    }
}
