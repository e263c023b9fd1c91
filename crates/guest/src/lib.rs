//! What a virtual machine boots: a kernel, an initrd with our init, and disks made of image layers.
//!
//! For: the driver of virtual machines. Nothing here starts a program, opens a socket or needs a privilege.
//! The init is built from `init/` by `build.rs`; [`protocol`] is what host and guest say to each other.

mod base;
mod cpio;
mod error;
mod initrd;
mod kernel;
mod layer;
mod modules;
#[path = "../init/src/protocol/mod.rs"]
pub mod protocol;
mod qcow2;
mod volume;

pub use base::base_disk;
pub use error::GuestError;
pub use initrd::initrd;
pub use kernel::Kernel;
pub use layer::Layer;
pub use qcow2::overlay;
pub use volume::volume_disk;
