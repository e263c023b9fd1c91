//! Everything that runs on this machine, ours or not, for other tools to discover: a list of it, and a feed of its changes.
//!
//! For: looking, over the same seam as everybody. Not for: changing anything, or deciding what a workload should do; the workers have watchers
//! of their own. Engines are followed here only while somebody reads the feed.
//!
//! ```text
//! engine --watch--> Follower --(list, event, details)--> Inventory --Told--> Reader
//! ```

mod details;
mod feed;
mod follower;
mod found;
mod inventory;
mod told;
mod world;

#[cfg(test)]
mod tests;

pub use feed::{Heard, Instances, Reader};
pub use found::{FoundInstance, FoundNetwork};
pub use inventory::{RuntimeSeen, Snapshot};
pub use told::{Change, Told};
