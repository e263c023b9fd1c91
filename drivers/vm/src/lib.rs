//! Virtual machines: a component of its own kernel each, under QEMU, with no daemon.
//!
//! For: turning plans into disks, guests and QEMU's command lines, and reporting what virtual machines are from evidence. [`shim`] is
//! the process that outlives the agent, one for each machine.
//! Not for: what a guest boots (crates/guest), images (crates/oci), networks of the host (crates/network), what every runtime with a
//! supervisor of ours shares (crates/local), nor for any policy.
#![doc = include_str!("docs.md")]

mod attach;
mod capability;
mod checks;
mod client;
mod config;
mod connect;
mod context;
mod driver;
mod error;
mod exec;
mod images;
mod lifecycle;
mod logs;
mod networks;
mod observe;
mod shim;
mod stats;
mod translate;
mod volumes;
mod watch;

pub use config::{Accelerator, Config};
pub use connect::connect;
pub use driver::Vm;
pub use shim::shim;
