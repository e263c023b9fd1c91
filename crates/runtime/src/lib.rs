//! The seam between Hythe and whatever runs workloads: the [`Runtime`] trait, its facets, and the one error that crosses it.
//!
//! For: the contract (here, on the traits), declared capability, layers around a driver, and `memory`, a complete
//! in-process runtime. Not for: any engine (see `drivers/`), policy (see `controller`) or storage.

pub mod capability;
pub mod clock;
pub mod context;
pub mod error;
pub mod event;
pub mod facets;
pub mod identity;
pub mod labels;
pub mod layers;
pub mod memory;
pub mod observed;
pub mod plan;
pub mod retold;
mod runtime;
pub mod snapshots;
pub mod words;

pub use capability::{Capability, Feature, Refusal, Support};
pub use clock::Clock;
pub use context::OpContext;
pub use error::{Error, ErrorKind, Result};
pub use event::{Cursor, Event, EventKind, EventStream};
pub use facets::{
    AttachRequest, BuildOutput, BuildRequest, Exec, ExecRequest, Image, ImageConfig, Images, LogLine, LogOptions,
    LogStream, Logs, NetworkInfo, NetworkSpec, Networks, OutputStream, Progress, ProgressSink, RemoteImage, Session,
    Stats, StatsSample, StdStream, TerminalSize, VolumeInfo, VolumeSpec, Volumes,
};
pub use identity::{Identity, InstanceId};
pub use labels::{Compose, Hints, Owner};
pub use observed::{
    EngineHealth, Exit, Listed, NetworkMode, Observed, ObservedMount, ObservedNetwork, ObservedSeccomp,
    ObservedSecurity, State,
};
pub use plan::{Attachment, Plan, PlanNetwork, Security};
pub use runtime::{Filter, Health, Runtime, RuntimeInfo, Stop};
pub use snapshots::{Snapshot, SnapshotMount, SnapshotRequest, Snapshots};
