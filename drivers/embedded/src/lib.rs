//! The embedded runtime: containers with nothing installed.
//!
//! For: turning plans into what the shim starts, keeping instances, volumes and networks on disk, and telling what they are from evidence.
//! Not for: supervising (crates/shim), images (crates/oci), retries, timeouts and capability checks (layers of `hythe_runtime`), nor for any policy.
#![doc = include_str!("docs.md")]

mod archives;
mod attach;
mod build;
mod capability;
mod checks;
mod client;
mod config;
mod connect;
mod context;
mod driver;
mod error;
mod exec;
mod idmap;
mod images;
mod lifecycle;
mod logs;
mod name_servers;
mod networks;
mod observe;
mod shim;
mod snapshots;
mod stats;
mod testing;
mod translate;
mod userns_exec;
mod volumes;
mod watch;

// Its records on disk are those of every runtime with a supervisor of ours.
use hythe_local::instances;

pub use config::{Config, NetworkBy};
pub use connect::connect;
pub use driver::Embedded;
pub use shim::shim;
