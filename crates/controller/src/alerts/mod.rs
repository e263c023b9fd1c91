//! Alerts: when somebody is to be told of what happens to workloads and runtimes.
//!
//! For: deciding that from the stream of events and a clock (`rules.rs`, `evaluate.rs`, pure), and following the stream (`follow.rs`).
//! Not for: telling anybody; that is done by whoever takes the alerts out of the queue, which never holds up the stream.

mod evaluate;
mod follow;
mod restarts;
mod rules;

pub use evaluate::Evaluator;
pub use follow::Counts;
pub use rules::{Alert, Flapping, Kind, Rule};
