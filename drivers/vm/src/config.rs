//! What an agent's configuration says of virtual machines.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hythe_spec::ByteSize;
use serde::{Deserialize, Serialize};

/// What executes the instructions of guests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The processor, through KVM; a host without it is refused.
    Kvm,
    /// QEMU, which translates them: much slower, and needs nothing of the host.
    #[default]
    Tcg,
}

/// Virtual machines; every field has a default, an unknown field is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name in the agent; default `vm`.
    pub name: String,
    /// Directory with images, disks, instances, volumes and networks; default (empty): `vm` in the agent's state directory.
    pub root: PathBuf,
    /// Program that is started as the supervisor with `shim`; default: this program itself.
    pub shim: Option<PathBuf>,
    /// QEMU; default `qemu-system-x86_64` in the agent's `PATH`.
    pub qemu: Option<PathBuf>,
    /// A kernel, or a directory that a kernel package was unpacked to; default: the newest kernel of this host with its modules.
    pub kernel: Option<PathBuf>,
    /// What executes the instructions of guests; default `tcg`.
    pub accelerator: Accelerator,
    /// Memory of a machine whose component sets no limit, in bytes; default 256 MiB.
    pub memory: ByteSize,
    /// Size of a machine's disk in bytes; default 10 GiB. It takes as much space of the host as is written.
    pub disk_size: ByteSize,
    /// Size of a named volume's disk in bytes; default 10 GiB. It takes as much space of the host as is written.
    pub volume_size: ByteSize,
    /// Seconds that a guest has to start its main process; default 120.
    pub start_timeout: u64,
    /// Size at which a segment of an instance's log ends, in bytes; default 16 MiB. Five segments are kept.
    pub log_max_size: ByteSize,
    /// Registries (`host[:port]`) spoken to over TLS without a check of the certificate, or over plain http; loopback ones always are. Default none.
    pub insecure_registries: Vec<String>,
    /// Registries (`host[:port]`) that are asked before another, by that one's host. Default none.
    pub registry_mirrors: BTreeMap<String, Vec<String>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "vm".to_owned(),
            root: PathBuf::new(),
            shim: None,
            qemu: None,
            kernel: None,
            accelerator: Accelerator::default(),
            memory: ByteSize(256 << 20),
            disk_size: ByteSize(10 << 30),
            volume_size: ByteSize(10 << 30),
            start_timeout: 120,
            log_max_size: ByteSize(16 << 20),
            insecure_registries: Vec::new(),
            registry_mirrors: BTreeMap::new(),
        }
    }
}
