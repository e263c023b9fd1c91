//! The driver for Docker: the Engine API of dockerd, and the same API as Podman serves it on a socket.
//!
//! For: finding the engine's socket, saying what it can honour, and turning plans into its words and its words into what was observed.
//! Not for: retries, timeouts by default and capability checks (layers of `hythe_runtime`), nor for any policy.
//! How each part of a plan is honoured, and which answers of the engines are made alike, is said below.
#![doc = include_str!("docs.md")]

mod api_types;
mod archives;
mod attach;
mod build;
mod capability;
mod client;
mod config;
mod connect;
mod context;
mod discover;
mod dockerignore;
mod driver;
mod error;
mod exec;
mod image_load;
mod images;
mod lifecycle;
mod logs;
mod networks;
mod observe;
mod partial_lines;
mod registry;
mod snapshots;
mod stats;
mod stdcopy;
mod translate;
mod volumes;
mod watch;

pub use config::Config;
pub use connect::connect;
pub use discover::{Candidate, Environment, Origin, candidates};
pub use driver::Docker;
