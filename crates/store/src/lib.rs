//! What the agent remembers: desired state, what was last observed, events and operations, in one SQLite file.
//!
//! For: committing intent before any engine call, and finding it again after a crash. Not for: deciding anything, or for what
//! engines know better (see their labels). A concrete type without a trait; one process at a time opens the file.

mod error;
mod events;
mod health;
mod instance;
mod open;
mod operations;
mod records;
mod tombstones;
mod workloads;

pub use error::{Error, Result};
pub use events::{EventFilter, EventPage, EventRecord, NewEvent};
pub use health::{Health, RESERVE, WriteFailure};
pub use instance::{Cause, ExitRecord, InstanceRecord, Life};
pub use open::{Opened, Store};
pub use operations::{OperationRecord, OperationState};
pub use records::{
    Desired, DesiredRecord, Failure, HealthState, ObservedRecord, Phase, Placement, Recipe, Rejection, Removing,
    ServiceRecord, Supply,
};
pub use tombstones::Tombstone;
pub use workloads::Transaction;
