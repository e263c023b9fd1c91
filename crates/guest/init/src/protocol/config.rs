//! The document that a guest boots with.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Everything that the init of a guest needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// [`super::VERSION`]; the init refuses another one.
    pub version: u32,
    /// The main process.
    pub process: Process,
    /// Whether the main process reads standard input from the control port; otherwise it is `/dev/null`.
    #[serde(default)]
    pub stdin: bool,
    /// Name of the guest.
    #[serde(default)]
    pub hostname: Option<String>,
    /// Entries of `/etc/hosts` beside those of `localhost` and of the guest itself.
    #[serde(default)]
    pub hosts: Vec<Host>,
    /// What `/etc/resolv.conf` has; the image's own file stays where this is absent.
    #[serde(default)]
    pub dns: Option<Dns>,
    /// Network interfaces; none besides the loopback where empty.
    #[serde(default)]
    pub network: Vec<Interface>,
    /// Mounts in the order in which they are made.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Whether the root file system is read-only for every process.
    #[serde(default)]
    pub read_only_root: bool,
    /// Kernel parameters below `/proc/sys`, with dots: `net.ipv4.ip_forward`.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// What the workload may take of the guest.
    #[serde(default)]
    pub limits: Limits,
    /// Ports whose first listener is reported; port 0 stands for every port.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// Number of the signal that asks the main process to end: for the power button and `SIGTERM` to the init.
    #[serde(default = "sigterm")]
    pub stop_signal: i32,
    /// Milliseconds between that signal and `SIGKILL`.
    #[serde(default = "ten_seconds")]
    pub stop_grace_ms: u64,
}

/// Limits of all processes of the workload together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory; no swap on top.
    #[serde(default)]
    pub memory: Option<u64>,
    /// Thousandths of a processor.
    #[serde(default)]
    pub cpus: Option<u64>,
    /// Processes and threads.
    #[serde(default)]
    pub pids: Option<u32>,
}

fn sigterm() -> i32 {
    15
}

fn ten_seconds() -> u64 {
    10_000
}

impl Config {
    /// A guest that runs `process` and nothing else.
    #[must_use]
    pub fn new(process: Process) -> Self {
        Self {
            version: super::VERSION,
            process,
            stdin: false,
            hostname: None,
            hosts: Vec::new(),
            dns: None,
            network: Vec::new(),
            mounts: Vec::new(),
            read_only_root: false,
            sysctls: BTreeMap::new(),
            limits: Limits::default(),
            ports: Vec::new(),
            stop_signal: sigterm(),
            stop_grace_ms: ten_seconds(),
        }
    }
}

/// A process: the main one, or one of an exec.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Program and arguments. A program without a slash is looked for in `PATH`.
    pub args: Vec<String>,
    /// `NAME=value`; `PATH` and `HOME` get defaults where they are missing.
    #[serde(default)]
    pub env: Vec<String>,
    /// `name|uid[:group|gid]`, looked up in the image; root where absent.
    #[serde(default)]
    pub user: Option<String>,
    /// Further groups, by name or number.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Working directory; created where it is missing. `/` where absent.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Whether the process has a terminal.
    #[serde(default)]
    pub terminal: bool,
    /// First size of the terminal.
    #[serde(default)]
    pub size: Option<Size>,
    /// Resource limits; the kernel's where absent.
    #[serde(default)]
    pub rlimits: Vec<Rlimit>,
    /// Whether the process can gain no privileges by executing a file.
    #[serde(default)]
    pub no_new_privileges: bool,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// A resource limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Its name as in `setrlimit(2)`, in lower case without prefix: `nofile`.
    pub name: String,
    /// Soft limit; none for unlimited.
    pub soft: Option<u64>,
    /// Hard limit; none for unlimited.
    pub hard: Option<u64>,
}

/// An entry of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The address.
    pub address: IpAddr,
    /// The names that it has.
    pub names: Vec<String>,
}

/// What `/etc/resolv.conf` has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Name servers, in order.
    pub servers: Vec<IpAddr>,
    /// Search domains.
    pub search: Vec<String>,
    /// Options of the resolver, such as `ndots:1`.
    pub options: Vec<String>,
}

/// A network interface with static addresses. Interfaces are matched by MAC address, else in the kernel's order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// MAC address, `52:54:00:12:34:56`.
    pub mac: Option<String>,
    /// Addresses with prefix length, `10.0.2.15/24`.
    pub addresses: Vec<String>,
    /// Default gateways, at most one of each family.
    pub gateways: Vec<IpAddr>,
    /// Largest packet in bytes; the driver's where absent.
    pub mtu: Option<u32>,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// What is mounted.
    pub source: Source,
    /// Absolute path in the image; created where it is missing.
    pub target: String,
    /// Whether it is read-only.
    #[serde(default)]
    pub read_only: bool,
}

/// What a mount has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A file system in memory.
    Tmpfs {
        /// Bytes at most; half of the memory where absent.
        #[serde(default)]
        size: Option<u64>,
        /// Permission bits of its root; where absent, those of the directory that it covers, or 0o1777.
        #[serde(default)]
        mode: Option<u32>,
        /// More, as words of `mount`: `size=50%`, `uid`, `gid` (where absent, those of the directory that it covers),
        /// `nr_inodes`, `noexec`, `nosuid`, `nodev`.
        #[serde(default)]
        options: Vec<String>,
    },
    /// An ext4 file system on a virtio disk, named by the disk's serial number.
    Disk {
        /// At most 20 characters.
        serial: String,
        /// Whether an empty file system gets the files, owner and mode of the image's directory.
        #[serde(default)]
        copy_up: bool,
    },
    /// A directory of the host by virtiofs.
    Virtiofs {
        /// Tag of the device.
        tag: String,
        /// One file or directory inside it, relative; all of it where absent.
        #[serde(default)]
        path: Option<String>,
    },
    /// A directory of the host by 9p, for kernels without virtiofs.
    NineP {
        /// Tag of the device.
        tag: String,
        /// One file or directory inside it, relative; all of it where absent.
        #[serde(default)]
        path: Option<String>,
    },
}

/// A port whose listener is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Port number in the guest.
    pub port: u16,
    /// Protocol.
    #[serde(default)]
    pub protocol: Protocol,
}

/// Protocol of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}
