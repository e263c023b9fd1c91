//! Mounts: named volumes, host paths, temporary memory; their short, long and tmpfs forms.

mod csv;
mod display;
pub(crate) mod long;
pub(crate) mod paths;
pub(crate) mod short;
pub(crate) mod tmpfs;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ByteSize;
pub use paths::{Paths, clean, kernel_directory};
pub use tmpfs::TmpfsOptions;

/// One mount of a component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Mount {
    /// Absolute, cleaned path inside the workload.
    pub target: String,
    /// What is mounted there.
    pub source: MountSource,
    /// The workload may not write to it.
    pub read_only: bool,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum MountSource {
    /// A named volume of the engine that outlives instances. First use copies up what the image has at the target.
    Volume {
        /// Name as written; the object in the engine is named `<service>_<name>` unless `external`.
        name: String,
        /// The volume belongs to somebody else: used under its own name, never created or removed.
        external: bool,
    },
    /// A directory or file of the host; it must exist (never created as a side effect).
    Bind {
        /// Absolute, cleaned host path.
        path: String,
        /// Mount propagation (`rprivate`, `rshared`, `rslave`, `private`, `shared`, `slave`); absent: `rprivate`.
        propagation: Option<String>,
        /// SELinux relabelling: `z` shared, `Z` private; absent: none.
        selinux: Option<char>,
    },
    /// A fresh memory file system, mounted `nosuid`, `nodev` and `noexec` unless its options say otherwise.
    Tmpfs {
        /// Size limit in bytes; absent: the kernel's default.
        size: Option<ByteSize>,
        /// Permission bits of its root, octal as a number (0o1777 where absent).
        mode: Option<u32>,
        /// Everything else it is mounted with.
        #[serde(default, skip_serializing_if = "TmpfsOptions::is_default")]
        options: TmpfsOptions,
    },
}
