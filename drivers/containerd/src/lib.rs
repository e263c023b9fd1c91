//! containerd: its gRPC API directly, in a namespace of Hythe's own.
//!
//! For: turning plans into containers and tasks, images into its content store and snapshots, and its events into the seam's.
//! Not for: the streams of tasks (crates/shim keeps them), retries, timeouts and capability checks (layers of `hythe_runtime`).
#![doc = include_str!("docs.md")]

mod api_types;
mod archives;
mod attach;
mod capability;
mod checks;
mod client;
mod config;
mod connect;
mod content;
mod context;
mod driver;
mod error;
mod exec;
mod image_load;
mod images;
mod init;
mod lifecycle;
mod logs;
mod networks;
mod observe;
mod record;
mod seccomp;
mod snapshots;
mod stats;
mod streams;
mod sweep;
mod task;
mod translate;
mod volumes;
mod watch;

pub use config::Config;
pub use connect::connect;
pub use driver::Containerd;
