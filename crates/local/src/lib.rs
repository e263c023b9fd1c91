//! What drivers share whose instances have a supervisor of ours (see `hythe_shim`) on this host.
//!
//! For: reading the logs that supervisors write, notice of changed files, resource use, the files and volumes of instances, errors
//! of the system in the words of the seam.
//! Not for: any engine, any record of a driver, and whatever a supervisor does itself.

mod error;
pub mod image_volumes;
pub mod inotify;
pub mod instance_files;
pub mod logs;
pub mod stats;

pub use error::IoContext;
