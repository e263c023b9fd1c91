//! What several crates ask the host's kernel in the same way: the time, the boot, a path inside a root, a delegated cgroup.
//!
//! For: crates that must not know each other. Not for: anything that one crate alone asks, or that knows instances, images or networks.

mod boot;
mod clock;
mod delegated;
mod in_root;

pub use boot::{BOOT_ID, boot_id};
pub use clock::now;
pub use delegated::{DelegatedCgroup, delegated_cgroup};
pub use in_root::openat2;
