//! Files of workloads: what is there, and their way in and out as tar streams.
//!
//! `/v1/workloads/{name}/archive` is a WebSocket as of [`crate::stream`], whose first message is [`ArchiveStart`]. The archive
//! goes over the channels of stdout (reading) or stdin (writing); the end of stdin says that it is complete. The session's
//! end has exit code 0, or the problem.
//!
//! Names in an archive are relative: a directory is `./` and what is below it `a/b`; anything else is one entry of its own
//! name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileQuery {
    /// Absolute path in the instance. A symbolic link at its end is not followed unless a slash is behind it.
    pub path: String,
}

/// What kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// Regular.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// A pipe, socket or device.
    Other,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileInfo {
    /// What kind of file.
    pub kind: FileKind,
    /// Size in bytes, as the file system has it.
    pub size: u64,
    /// The lowest twelve bits of the mode.
    pub mode: u32,
    /// Where a symbolic link leads to.
    pub target: Option<String>,
    /// What is read from there has the owners that files have in the workload; else every file is root's.
    pub owners: bool,
}

/// Which way an archive goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ArchiveWay {
    /// From the workload.
    Read,
    /// To the workload: extracted over what is there.
    Write,
}

/// What to read or write (first message on `/v1/workloads/{name}/archive`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArchiveStart {
    /// Which way.
    pub way: ArchiveWay,
    /// Absolute path in the instance; for writing an existing directory.
    pub path: String,
    /// Refuse it while the workload, or another with the same volume, runs.
    #[serde(default)]
    pub at_rest: bool,
}
