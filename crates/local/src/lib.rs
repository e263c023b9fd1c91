//! What drivers share for what is on this host: instances with a supervisor of ours (see `hythe_shim`), engines behind a socket.
//!
//! For: instances on disk, images of a store, speaking to supervisors and reading what they write (logs, events), notice of
//! changed files, resource use, the files and volumes of instances, paths of the host in plans, errors of the system in the
//! words of the seam, HTTP over an engine's socket.
//! Not for: any engine's own words, and whatever a supervisor does itself.

pub mod archives;
pub mod attach;
mod error;
pub mod events;
pub mod exec;
pub mod host_paths;
pub mod http;
pub mod image;
mod image_load;
pub mod image_volumes;
pub mod inotify;
pub mod instance_files;
pub mod instances;
pub mod logs;
pub mod named_volumes;
pub mod program;
pub mod shim_client;
pub mod stats;
pub mod stored_images;
pub mod supervised;

pub use error::{IoContext, from_shim, of_store};
