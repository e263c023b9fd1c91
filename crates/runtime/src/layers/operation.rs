//! What a layer sees of a call.

use std::fmt;
use std::str::FromStr;

use crate::{InstanceRef, OpContext, Plan, RuntimeInfo, Stop};

/// Every operation of the seam that reaches an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is named after its method")]
pub enum Operation {
    Probe,
    Create,
    Run,
    Start,
    Stop,
    Signal,
    Remove,
    Inspect,
    List,
    Watch,
    Pull,
    Image,
    Images,
    ImageRemove,
    ImagesUnused,
    ImageDiscard,
    Tag,
    Push,
    Build,
    Load,
    Resolve,
    Logs,
    Exec,
    Attach,
    Stats,
    NetworkEnsure,
    NetworkList,
    NetworkRemove,
    VolumeEnsure,
    VolumeList,
    VolumeRemove,
    SnapshotCommit,
    SnapshotList,
    SnapshotMounts,
    SnapshotRemove,
    ArchiveLook,
    ArchiveRead,
    ArchiveWrite,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 38] = [
        Self::Probe,
        Self::Create,
        Self::Run,
        Self::Start,
        Self::Stop,
        Self::Signal,
        Self::Remove,
        Self::Inspect,
        Self::List,
        Self::Watch,
        Self::Pull,
        Self::Image,
        Self::Images,
        Self::ImageRemove,
        Self::ImagesUnused,
        Self::ImageDiscard,
        Self::Tag,
        Self::Push,
        Self::Build,
        Self::Load,
        Self::Resolve,
        Self::Logs,
        Self::Exec,
        Self::Attach,
        Self::Stats,
        Self::NetworkEnsure,
        Self::NetworkList,
        Self::NetworkRemove,
        Self::VolumeEnsure,
        Self::VolumeList,
        Self::VolumeRemove,
        Self::SnapshotCommit,
        Self::SnapshotList,
        Self::SnapshotMounts,
        Self::SnapshotRemove,
        Self::ArchiveLook,
        Self::ArchiveRead,
        Self::ArchiveWrite,
    ];

    /// The name in errors, spans and fault scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Create => "create",
            Self::Run => "run",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Signal => "signal",
            Self::Remove => "remove",
            Self::Inspect => "inspect",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Pull => "pull",
            Self::Image => "image",
            Self::Images => "images",
            Self::ImageRemove => "image-remove",
            Self::ImagesUnused => "images-unused",
            Self::ImageDiscard => "image-discard",
            Self::Tag => "tag",
            Self::Push => "push",
            Self::Build => "build",
            Self::Load => "load",
            Self::Resolve => "resolve",
            Self::Logs => "logs",
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::Stats => "stats",
            Self::NetworkEnsure => "network-ensure",
            Self::NetworkList => "network-list",
            Self::NetworkRemove => "network-remove",
            Self::VolumeEnsure => "volume-ensure",
            Self::VolumeList => "volume-list",
            Self::VolumeRemove => "volume-remove",
            Self::SnapshotCommit => "snapshot-commit",
            Self::SnapshotList => "snapshot-list",
            Self::SnapshotMounts => "snapshot-mounts",
            Self::SnapshotRemove => "snapshot-remove",
            Self::ArchiveLook => "archive-look",
            Self::ArchiveRead => "archive-read",
            Self::ArchiveWrite => "archive-write",
        }
    }

    /// Whether it only looks.
    pub const fn only_reads(self) -> bool {
        matches!(
            self,
            Self::Probe
                | Self::Inspect
                | Self::List
                | Self::Watch
                | Self::Image
                | Self::Images
                | Self::ImagesUnused
                | Self::Resolve
                | Self::Logs
                | Self::Stats
                | Self::NetworkList
                | Self::VolumeList
                | Self::SnapshotList
                | Self::SnapshotMounts
                | Self::ArchiveLook
                | Self::ArchiveRead
        )
    }

    /// Whether doing it twice is as good as once: everything but a process of its own kind, a build, which is dear, and an
    /// archive, which is read once.
    pub const fn is_repeatable(self) -> bool {
        !matches!(self, Self::Exec | Self::Attach | Self::Build | Self::ArchiveWrite)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Operation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|operation| operation.name() == text);
        found.ok_or_else(|| format!("`{text}` is not an operation"))
    }
}

/// One call on its way to the driver.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// What is asked.
    pub operation: Operation,
    /// The runtime it is asked of.
    pub info: &'a RuntimeInfo,
    /// What that runtime can honour.
    pub capability: &'a crate::Capability,
    /// With what context.
    pub cx: &'a OpContext,
    /// The instance it is about, where there is one.
    pub instance: Option<&'a InstanceRef>,
    /// The plan it carries, where it does.
    pub plan: Option<&'a Plan>,
    /// How to stop, where it stops.
    pub stop: Option<&'a Stop>,
}
