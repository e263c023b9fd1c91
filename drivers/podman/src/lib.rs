//! The driver for Podman, rootful and rootless, over the `podman` program and its machine-readable output.
//!
//! For: turning a plan into one `podman run`, and what podman prints into the seam's words; see `docs.md` beside this file.
//! Not for: Podman's API socket (the docker driver speaks that), policy, retries or timeouts (layers around a driver),
//! or anything that no machine-readable output says.
#![doc = include_str!("docs.md")]

mod attach;
mod ceilings;
mod client;
mod config;
mod connect;
mod document;
mod driver;
mod error;
mod evidence;
mod exec;
mod follower;
mod images;
mod input;
mod keeper;
mod lifecycle;
mod limits;
mod logfile;
mod logs;
mod networks;
mod process;
mod pty;
mod snapshots;
mod stats;
mod translate;
mod volumes;
mod watch;
mod workdir;

pub use config::Config;
pub use connect::connect;
pub use driver::Podman;
