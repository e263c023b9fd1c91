//! The embedded runtime: containers with nothing installed.
//!
//! For: turning plans into what the shim starts, keeping instances, volumes and networks on disk, and telling what they are from evidence.
//! Not for: supervising (crates/shim), images (crates/oci), retries, timeouts and capability checks (layers of `hythe_runtime`), nor for any policy.
#![doc = include_str!("docs.md")]

mod build;
mod client;
mod config;
mod connect;
mod core;
mod driver;
mod errand;
mod error;
mod exec;
mod hands;
mod images;
mod instances;
mod lifecycle;
mod logs;
pub mod network;
mod network_hook;
mod networks;
mod notice;
mod observe;
mod operator;
mod seccomp;
mod shim;
mod snapshots;
mod stats;
mod translate;
mod volumes;
mod watch;

pub use config::{Config, NetworkBy};
pub use connect::connect;
pub use driver::Embedded;
pub use shim::shim;
