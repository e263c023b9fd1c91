//! Messages: events of the guest, commands of the host.

use serde::{Deserialize, Serialize};

use super::{Process, Protocol, Size};

/// What a guest reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The init runs and reads commands. Sent again as the answer to [`Command::Hello`].
    Boot {
        /// Version of the protocol.
        version: u32,
        /// Release of the kernel.
        kernel: String,
        /// Pid of the main process once it has started: a host that comes back learns it from here.
        #[serde(default)]
        started: Option<u32>,
    },
    /// The main process runs.
    Started {
        /// Its pid in the guest.
        pid: u32,
    },
    /// A process listens on a port of the configuration, on more than the loopback address.
    Listening {
        /// Port number.
        port: u16,
        /// Protocol.
        protocol: Protocol,
    },
    /// The power button was pressed; the main process has got the stop signal.
    PowerButton,
    /// The main process has ended. The guest powers off on [`Command::PowerOff`], or 0.2 seconds later.
    Exit(Exit),
    /// The guest cannot be set up. The event [`Event::Exit`] follows, with code 125, 126 or 127.
    Error {
        /// What failed, and why.
        message: String,
    },
    /// A process of an exec runs.
    ExecStarted {
        /// Id of the exec.
        id: u32,
        /// Its pid in the guest.
        pid: u32,
    },
    /// A process of an exec has ended, and all of its output was sent.
    ExecExit {
        /// Id of the exec.
        id: u32,
        /// How it ended.
        exit: Exit,
        /// Why it could not be started.
        #[serde(default)]
        error: Option<String>,
    },
    /// The receiver has consumed bytes of standard input.
    Consumed {
        /// Id of the process.
        id: u32,
        /// Bytes since the last such event.
        bytes: u64,
    },
    /// What the guest uses.
    Stats(Stats),
    /// The processes of the guest.
    Processes {
        /// In the order of pids.
        processes: Vec<ProcessInfo>,
    },
    /// Disks are written and frozen until [`Command::Thaw`].
    Frozen {
        /// Why they could not be frozen; nothing is frozen then.
        #[serde(default)]
        error: Option<String>,
    },
    /// Disks are thawed.
    Thawed,
    /// The answer to [`Command::Ping`].
    Pong {
        /// As in the command.
        nonce: u64,
    },
    /// A command could not be obeyed: it is unknown, or names a process that is not there.
    Refused {
        /// Why.
        message: String,
    },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; 128 and the signal where a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    #[serde(default)]
    pub signal: Option<i32>,
    /// Processes that the kernel has killed since boot because memory was exhausted.
    #[serde(default)]
    pub oom_kills: u64,
}

/// What a guest uses, since boot where it is a sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Microseconds in which processors were busy, with those that the host took.
    pub cpu_usec: u64,
    /// Bytes of memory.
    pub memory_total: u64,
    /// Bytes of memory that are available without swapping.
    pub memory_available: u64,
    /// Processes, without threads and without those of the kernel.
    pub processes: u64,
    /// Bytes received on all interfaces but the loopback.
    pub network_received: u64,
    /// Bytes sent on all interfaces but the loopback.
    pub network_sent: u64,
    /// Bytes read from disks.
    pub block_read: u64,
    /// Bytes written to disks.
    pub block_written: u64,
    /// Size of the root file system in bytes.
    pub root_size: u64,
    /// Free bytes of the root file system.
    pub root_free: u64,
    /// Processes that the kernel has killed because memory was exhausted.
    pub oom_kills: u64,
}

/// A process of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// Its pid.
    pub pid: u32,
    /// Its parent's pid.
    pub parent: u32,
    /// Its user.
    pub uid: u32,
    /// Microseconds of processor time.
    pub cpu_usec: u64,
    /// Bytes of resident memory.
    pub memory: u64,
    /// Its arguments.
    pub args: Vec<String>,
}

/// What a host asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Asks for [`Event::Boot`]: for a host that connects again. Without an answer within two seconds it asks once
    /// more, since the first may have become the rest of a frame that the connection before left unfinished.
    Hello,
    /// Sends a signal to the main process.
    Signal {
        /// Number of the signal.
        number: i32,
    },
    /// Ends the main process: the signal, and `SIGKILL` once the grace is over.
    Stop {
        /// Number of the signal; that of the configuration where absent.
        #[serde(default)]
        signal: Option<i32>,
        /// Milliseconds; those of the configuration where absent.
        #[serde(default)]
        grace_ms: Option<u64>,
    },
    /// Starts one more process.
    Exec {
        /// Names it from now on; not [`super::MAIN`], and not that of another process.
        id: u32,
        /// The process.
        process: Process,
        /// Whether standard input comes from the control port; otherwise it is `/dev/null`.
        #[serde(default)]
        stdin: bool,
    },
    /// Gives a terminal another size.
    ExecResize {
        /// Id of the process; [`super::MAIN`] for the main one.
        id: u32,
        /// The size.
        size: Size,
    },
    /// Sends a signal to a process of an exec.
    ExecSignal {
        /// Id of the exec.
        id: u32,
        /// Number of the signal.
        number: i32,
    },
    /// The host has consumed bytes of a stream.
    Consumed {
        /// Id of the process.
        id: u32,
        /// Bytes of standard output since the last such command.
        #[serde(default)]
        stdout: u64,
        /// Bytes of standard error since the last such command.
        #[serde(default)]
        stderr: u64,
    },
    /// Writes disks, and freezes them.
    Freeze,
    /// Thaws disks.
    Thaw,
    /// Asks for [`Event::Stats`].
    Stats,
    /// Asks for [`Event::Processes`].
    Processes,
    /// The host has [`Event::Exit`]: the guest powers off without waiting any longer.
    PowerOff,
    /// Asks for [`Event::Pong`].
    Ping {
        /// Comes back in the answer.
        nonce: u64,
    },
}
