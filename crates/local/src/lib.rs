//! What drivers share for what is on this host: instances with a supervisor of ours (see `hythe_shim`), engines behind a socket.
//!
//! For: reading the logs that supervisors write, notice of changed files, resource use, the files and volumes of instances, paths
//! of the host in plans, errors of the system in the words of the seam, HTTP over an engine's socket.
//! Not for: any engine's own words, any record of a driver, and whatever a supervisor does itself.

mod error;
pub mod host_paths;
pub mod http;
pub mod image_volumes;
pub mod inotify;
pub mod instance_files;
pub mod logs;
pub mod stats;

pub use error::IoContext;
