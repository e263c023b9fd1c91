//! The driver for Podman, rootful and rootless, over the `podman` program and its machine-readable output.
//!
//! For: turning a plan into one `podman run`, and what podman prints into the seam's words; see `docs.md` beside this file.
//! Not for: Podman's API socket (the docker driver speaks that), policy, retries or timeouts (layers around a driver),
//! or anything that no machine-readable output says.
#![doc = include_str!("docs.md")]

mod api_types;
mod attach;
mod build;
mod capability;
mod cgroup_limits;
mod client;
mod config;
mod connect;
mod driver;
mod error;
mod events_reader;
mod exec;
mod image_load;
mod images;
mod k8s_file;
mod lifecycle;
mod log_output;
mod logs;
mod networks;
mod observe;
mod pidfd;
mod private;
mod pty;
mod rlimits;
mod session;
mod snapshots;
mod start_error;
mod stats;
mod stdin;
mod stdin_holder;
mod translate;
mod volumes;
mod watch;
mod workdir;

pub use config::Config;
pub use connect::connect;
pub use driver::Podman;
