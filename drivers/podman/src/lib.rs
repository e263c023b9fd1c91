//! The driver for Podman, rootful and rootless, over its own API (libpod), which a service of the agent's own serves.
//!
//! For: turning a plan into podman's document, and what podman answers into the seam's words; see `docs.md` beside this file.
//! Not for: Docker's API as Podman serves it (the docker driver speaks that), policy, retries or timeouts (layers around a
//! driver).
#![doc = include_str!("docs.md")]

mod api_types;
mod archives;
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
mod program;
mod pty;
mod rlimits;
mod service;
mod session;
mod snapshots;
mod start_error;
mod stats;
mod stdin;
mod stdin_holder;
mod translate;
mod tunnel;
mod volumes;
mod watch;
mod workdir;

pub use config::Config;
pub use connect::connect;
pub use driver::Podman;
