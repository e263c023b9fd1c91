//! Exec and attach over a WebSocket.
//!
//! The client's first message is text: [`ExecStart`] or [`AttachStart`]. All others are binary, the first byte naming the channel ([`channel`]).
//! The agent's last message is on [`channel::END`]; then it closes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Problem;

/// First byte of a binary message.
pub mod channel {
    /// Client to process.
    pub const STDIN: u8 = 0;
    /// Process to client.
    pub const STDOUT: u8 = 1;
    /// Process to client.
    pub const STDERR: u8 = 2;
    /// Agent to client: a [`super::SessionEnd`] in JSON.
    pub const END: u8 = 3;
    /// Client to agent: a [`super::Size`] in JSON.
    pub const RESIZE: u8 = 4;
    /// Client to agent, no payload: end of stdin.
    pub const STDIN_EOF: u8 = 5;
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Size {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// What to run (first message on `/v1/workloads/{name}/exec`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ExecStart {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment over the workload's.
    pub env: BTreeMap<String, String>,
    /// User; absent: the workload's.
    pub user: Option<String>,
    /// Working directory; absent: the workload's.
    pub workdir: Option<String>,
    /// With a terminal.
    pub tty: bool,
    /// With stdin.
    pub stdin: bool,
    /// First size of the terminal.
    pub size: Option<Size>,
}

/// How to connect (first message on `/v1/workloads/{name}/attach`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AttachStart {
    /// Also to its stdin.
    pub stdin: bool,
    /// First size of the terminal.
    pub size: Option<Size>,
}

/// How a session ended: exactly one of both is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionEnd {
    /// Exit code of the process.
    pub exit: Option<i32>,
    /// Why there is none.
    pub problem: Option<Problem>,
}
