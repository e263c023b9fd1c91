//! The seam between Hythe and whatever runs workloads: the [`Runtime`] trait, its facets, and the one error that crosses it.
//!
//! For: the contract (here, on the traits), declared capability, and layers around a driver.
//! Not for: any engine (see `drivers/`), policy (see `controller`) or storage.

pub mod archives;
pub mod capability;
pub mod clock;
pub mod context;
pub mod docker_compat;
mod ended_inputs;
pub mod error;
pub mod event;
pub mod event_dedup;
pub mod facets;
mod feature;
pub mod identity;
mod image_health;
pub mod kernel_log;
pub mod labels;
pub mod layers;
pub mod log_lines;
pub mod needs;
pub mod observed;
pub mod plan;
pub mod platforms;
pub mod podman;
pub mod rlimits;
mod runtime;
pub mod snapshots;
pub mod watched;

pub use archives::{ArchiveInput, ArchiveStream, Archives, FileInfo, FileKind};
pub use capability::{Capability, Refusal};
pub use clock::Clock;
pub use context::{OpContext, Reports, Waiting};
pub use ended_inputs::EndedInputs;
pub use error::{Error, ErrorKind, Result};
pub use event::{Cursor, Event, EventKind, EventStream, after_gap};
pub use facets::{
    AttachRequest, BuildOutput, BuildRequest, Exec, ExecRequest, Image, ImageConfig, Images, LogLine, LogOptions,
    LogStream, Logs, NetworkInfo, NetworkSpec, Networks, OutputStream, Progress, ProgressSink, RemoteImage, Session,
    Stats, StatsSample, StdStream, TerminalSize, VolumeInfo, VolumeSpec, Volumes,
};
pub use feature::{Feature, Support};
pub use identity::{Identity, InstanceId, InstanceRef};
pub use image_health::ImageHealth;
pub use labels::{Compose, Owner};
pub use log_lines::{LogTail, MAX_LOG_LINE, MAX_LOG_TAIL, OpenLine};
pub use observed::{
    EngineHealth, Exit, Listed, NetworkMode, Observed, ObservedMount, ObservedNetwork, ObservedSeccomp,
    ObservedSecurity, Pending, State,
};
pub use plan::{Attachment, DEFAULT_PIDS, Plan, PlanNetwork, PlanSecret, Security};
pub use runtime::{Filter, Health, Runtime, RuntimeInfo, Stop, check_signal};
pub use snapshots::{Snapshot, SnapshotMount, SnapshotRequest, Snapshots};
