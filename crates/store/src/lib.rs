//! What the agent remembers: desired state, what was last observed, events and operations, in one SQLite file.
//!
//! For: committing intent before any engine call, and finding it again after a crash. Not for: deciding anything, or for what
//! engines know better (see their labels). A concrete type without a trait; one process at a time opens the file.

mod error;
mod events;
mod open;
mod operations;
mod records;
mod tombstones;
mod workloads;

pub use error::{Error, Result};
pub use events::{EventFilter, EventRecord, NewEvent};
pub use open::{Opened, Store};
pub use operations::{OperationRecord, OperationState};
pub use records::{
    Desired, DesiredRecord, ExitRecord, HealthState, InstanceRecord, ObservedRecord, Phase, Placement, Recipe,
    Rejection, Removing, ServiceRecord,
};
pub use tombstones::Tombstone;
pub use workloads::Transaction;
