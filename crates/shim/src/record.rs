//! What is written down of an instance: what to start, and what became of it.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Filter;

/// What to start. Written once, before the first start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// The instance's id.
    pub id: String,
    /// Reported with every event of it.
    #[serde(rename = "about")]
    pub metadata: Value,
    /// Unpacked layers, lowest first.
    pub layers: Vec<PathBuf>,
    /// How the file system is mounted, where an engine keeps it; then there are no layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rootfs: Vec<RootMount>,
    /// The OCI runtime specification, without root, user, working directory, capabilities and seccomp profile.
    pub spec: Value,
    /// What its main process is besides.
    pub process: Process,
    /// Volumes that are filled, while they are empty, with what the image has at their target.
    #[serde(rename = "take_up")]
    pub copy_up: Vec<CopyUp>,
    /// Devices of the host that it is granted.
    #[serde(default)]
    pub devices: Vec<Granted>,
    /// It has a network namespace of its own.
    pub own_network: bool,
    /// Place of the user namespace that it lives in (see [`crate::namespace`]); none: that of whoever starts it.
    #[serde(default)]
    pub user_namespace: Option<PathBuf>,
    /// For the [`crate::Network`] of this kind of instance.
    pub network: Value,
    /// Bounds of its log.
    pub logs: LogBounds,
    /// Directory of the journal.
    pub journal: PathBuf,
}

/// One mount of a file system that an engine keeps, as mount(2) takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootMount {
    /// Type of file system: `overlay`, or `bind`.
    pub kind: String,
    /// What is mounted.
    pub source: String,
    /// Options, with the words `ro`, `rw`, `bind` and `rbind` among them.
    pub options: Vec<String>,
}

/// A process to execute, as far as this crate sees to it itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments.
    pub arguments: Vec<String>,
    /// `name|uid[:group|gid]`, looked up in the image.
    pub user: Option<String>,
    /// Groups besides the user's: names of the image's `/etc/group`, or numbers.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Made where it is absent.
    pub workdir: String,
    /// The complete set, without `CAP_`.
    pub capabilities: Vec<String>,
    /// Executing a file gains no privileges.
    pub no_new_privileges: bool,
    /// Compiled seccomp profile: filters, in the order in which they are installed.
    pub filters: Vec<Filter>,
    /// It runs below a minimal init.
    pub init: bool,
    /// It has a terminal.
    pub tty: bool,
    /// Its stdin stays open.
    pub stdin: bool,
}

/// See [`Config::copy_up`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CopyUp {
    /// Directory with the volume's files.
    pub volume: PathBuf,
    /// Where it is mounted.
    pub target: String,
}

/// A device of the host, or a directory of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// Absolute path on the host.
    pub path: String,
    /// Absolute path in the container, below `/dev`.
    pub target: String,
    /// Letters of `rwm`; a rootless container's are always both read and written.
    pub access: String,
}

/// Bounds of a log.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct LogBounds {
    /// Bytes after which a new segment begins.
    pub segment: u64,
    /// Segments that are kept.
    pub segments: u64,
}

/// What became of an instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// How far it is.
    pub phase: Phase,
    /// The host's boot that it happened in.
    pub boot: String,
    /// Pid of the main process.
    pub pid: Option<i32>,
    /// When the main process was executed.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// How it ended, or why it did not start.
    #[serde(rename = "end")]
    pub exit: Option<ExitStatus>,
    /// Its control groups, one directory per hierarchy.
    pub cgroups: Vec<PathBuf>,
    /// What the [`crate::Network`] says of it.
    pub network: Value,
    /// It is paused, where its cgroups do not say so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

/// How far an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// A shim is at work.
    Starting,
    /// Its main process was executed.
    Running,
    /// Its main process could not be executed.
    Failed,
    /// Its main process ended.
    #[serde(rename = "ended")]
    Stopped,
}

/// How a main process ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// Exit code; death by a signal is 128 + its number.
    pub code: i32,
    /// Signal it died of.
    pub signal: Option<i32>,
    /// It was OOM-killed.
    pub oom: bool,
    /// Why it could not be started, or how it was lost.
    pub error: Option<String>,
    /// What ended it where that was neither its own exit nor a signal to its main process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
}

/// How a virtual machine ends without an exit of its main process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lost {
    /// The kernel of the guest panicked.
    GuestPanic,
    /// The guest was reset.
    GuestReset,
    /// The guest powered off and reported no exit.
    GuestShutdown,
    /// What emulates it was ended from outside.
    EngineKilled,
    /// What emulates it ended by itself.
    EngineDied,
}

impl State {
    /// Of one that a supervisor begins to start.
    pub fn starting() -> Self {
        Self {
            phase: Phase::Starting,
            boot: boot(),
            pid: None,
            started: None,
            finished: None,
            exit: None,
            cgroups: Vec::new(),
            network: Value::Null,
            paused: false,
        }
    }
}

/// The present boot, as records name it; empty where the kernel does not tell.
pub fn boot() -> String {
    hythe_host::boot_id().unwrap_or_default()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn records_of_earlier_versions_are_read() {
        let stopped = json!({ "code": 137, "signal": 9, "oom": true, "error": null });
        let written = json!({
            "phase": "ended", "boot": "b", "pid": null, "started": null, "finished": "2026-01-02T03:04:05Z",
            "end": stopped, "cgroups": ["/sys/fs/cgroup/hythe-1"], "network": null,
        });
        let state: State = serde_json::from_value(written.clone()).unwrap();
        assert_eq!((state.phase, state.exit.as_ref().map(|exit| exit.oom)), (Phase::Stopped, Some(true)));
        assert_eq!(serde_json::to_value(state).unwrap(), written);
        let process = json!({
            "arguments": ["true"], "user": null, "groups": [], "workdir": "/", "capabilities": [],
            "no_new_privileges": true, "filters": [[6]], "init": false, "tty": false, "stdin": false,
        });
        let written = json!({
            "id": "1", "about": { "name": "web" }, "layers": ["/layer"], "spec": {}, "process": process,
            "take_up": [{ "volume": "/volume", "target": "/data" }], "devices": [], "own_network": true,
            "user_namespace": null, "network": {}, "logs": { "segment": 1, "segments": 2 }, "journal": "/journal",
        });
        let config: Config = serde_json::from_value(written.clone()).unwrap();
        assert_eq!((config.metadata["name"].as_str(), config.copy_up.len()), (Some("web"), 1));
        assert_eq!(serde_json::to_value(config).unwrap(), written);
    }
}
