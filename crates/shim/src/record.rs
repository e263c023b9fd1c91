//! What is written down of an instance: what to start, and what became of it.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Filter;

/// What to start. Written once, before the first start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Launch {
    /// The instance's id.
    pub id: String,
    /// Told with every event of it.
    pub about: Value,
    /// Unpacked layers, lowest first.
    pub layers: Vec<PathBuf>,
    /// The OCI runtime specification, without root, user, working directory, capabilities and system call filter.
    pub spec: Value,
    /// What its main process is besides.
    pub process: Process,
    /// Volumes that take up what the image has at their place, while they are empty.
    pub take_up: Vec<TakeUp>,
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

/// A process to execute, as far as this crate sees to it itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments.
    pub arguments: Vec<String>,
    /// `name|uid[:group|gid]`, looked up in the image.
    pub user: Option<String>,
    /// Made where it is absent.
    pub workdir: String,
    /// The complete set, without `CAP_`.
    pub capabilities: Vec<String>,
    /// Executing a file gains no privileges.
    pub no_new_privileges: bool,
    /// System call filters, in the order in which they are installed.
    pub filters: Vec<Filter>,
    /// It runs below a minimal init.
    pub init: bool,
    /// It has a terminal.
    pub tty: bool,
    /// Its stdin stays open.
    pub stdin: bool,
}

/// See [`Launch::take_up`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TakeUp {
    /// Directory with the volume's files.
    pub volume: PathBuf,
    /// Where it is mounted.
    pub target: String,
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
pub struct Run {
    /// How far it is.
    pub phase: Phase,
    /// The machine's boot it happened in.
    pub boot: String,
    /// Pid of the main process.
    pub pid: Option<i32>,
    /// When the main process was executed.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// How it ended, or why it did not start.
    pub end: Option<End>,
    /// Its control groups, one directory per hierarchy.
    pub cgroups: Vec<PathBuf>,
    /// What the [`crate::Network`] says of it.
    pub network: Value,
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
    Ended,
}

/// How a main process ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Exit code; death by a signal is 128 + its number.
    pub code: i32,
    /// Signal it died of.
    pub signal: Option<i32>,
    /// The kernel killed it for want of memory.
    pub oom: bool,
    /// Why it could not be started, or how it was lost.
    pub error: Option<String>,
}

impl Run {
    pub(crate) fn starting() -> Self {
        Self {
            phase: Phase::Starting,
            boot: boot(),
            pid: None,
            started: None,
            finished: None,
            end: None,
            cgroups: Vec::new(),
            network: Value::Null,
        }
    }
}

/// Names the machine's present boot.
pub fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
