//! What the agent remembers: desired state, what was last observed, events and operations, in one SQLite file.
//!
//! For: committing intent before any engine call, and finding it again after a crash. Not for: deciding anything, or for what
//! engines know better (see their labels). A concrete type without a trait; one process at a time opens the file.

mod error;
mod events;
mod health;
mod images;
mod instance;
mod open;
mod operations;
mod records;
mod secrets;
mod snapshots;
mod tombstones;
mod workloads;

pub use error::{Error, Result};
pub use events::{EventFilter, EventPage, EventRecord, NewEvent};
pub use health::{Health, RESERVE, WriteFailure};
pub use hythe_spec::vocabulary::{
    Desired, EventKind, ExitCause, HealthState, OpenEnum, OperationKind, OperationState, WorkloadState as Phase,
};
pub use images::BroughtImage;
pub use instance::{ExitRecord, ImageCheck, InstanceRecord, Life, SentSignal};
pub use open::{Opened, Store};
pub use operations::OperationRecord;
pub use records::{
    Ahead, ComponentSpec, DesiredRecord, Failure, ObservedRecord, Placement, Prerequisites, Rejection, Removing,
    ServiceRecord,
};
pub use secrets::{LARGEST_SECRET, SecretRecord, Secrets};
pub use tombstones::Tombstone;
pub use workloads::Transaction;
