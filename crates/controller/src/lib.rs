//! The brain: brings each workload from what is observed to what is desired, one task per workload, and reports what happens.
//!
//! For: placement, lifecycle, restart and health policy, operations, the event stream. Not for: HTTP (see `agent`), SQL (see
//! `store`) or any engine: the controller knows runtimes only through the seam and names no driver.

mod action;
mod adopt;
mod adopt_from_labels;
mod controller;
mod crash;
mod degraded;
mod deploy;
mod drift;
mod error;
mod event;
mod files;
mod follow;
mod gc;
mod generation;
mod health;
mod images;
mod kill;
mod lifecycle;
mod lookup;
mod message;
mod model;
mod operation;
mod outcome;
mod placement;
mod policy;
mod privileged;
mod purge;
mod registry;
mod removal;
mod restore;
mod runtimes;
mod secrets;
mod service;
mod settings;
mod snapshots;
mod start;
mod starts;
mod watch;
mod waves;
mod worker;

pub use action::DeployOptions;
pub use adopt::{AdoptOptions, Adopted};
pub use controller::Controller;
pub use degraded::DegradedReason;
pub use deploy::{ComponentPlan, DeployPlan, Deployed};
pub use event::EventHub;
pub use gc::{Candidate, Collected, GcOptions, Object, ObjectKind};
pub use images::{ImageOn, PruneOptions, PrunedImages, check_platform};
pub use model::{Difference, WorkloadState};
pub use operation::{Joined, OperationHandle, Operations, Report};
pub use purge::{Purged, PurgedService};
pub use runtimes::{Connect, Connector, RuntimeStatus, Runtimes};
pub use secrets::{SecretFiles, SecretUse};
pub use settings::{CrashHook, GcSettings, Settings};
pub use snapshots::SnapshotOn;

pub(crate) use error::store_error;
