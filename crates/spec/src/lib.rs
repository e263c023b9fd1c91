//! What a user asks for: one service, its components, and every string format they use.
//!
//! For: parsing, validating (all errors at once), normalising and comparing service files.
//! Not for: I/O, engines or time. Nothing here opens a file, a socket or a runtime; files that a service
//! names (`env_file`, permission profiles) are read through a trait that the caller provides.

mod bytes;
mod cpus;
pub mod diagnostics;
pub mod diff;
mod duration;
pub mod env_file;
pub mod file;
mod fingerprint;
pub mod health;
pub mod image;
pub mod mount;
mod nearest;
pub mod network;
pub mod permissions;
pub mod port;
pub mod process;
mod restart;
pub mod service;
mod signal;
pub mod units;
pub mod validate;

pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use diff::{Change, ChangeKind, diff};
pub use file::{Files, Parsed, json_schema, parse, render};
pub use fingerprint::fingerprint;
pub use health::{Health, OnFailure, Probe};
pub use image::ImageRef;
pub use mount::{Mount, MountSource, Paths};
pub use network::{ExtraHost, HostAddress, Network};
pub use permissions::{Inbound, Outbound, Permissions, Seccomp};
pub use port::{Port, Protocol};
pub use process::{Restart, Signal, Ulimit};
pub use service::{Build, Component, Condition, Drift, Resources, RuntimeKind, Service};
pub use units::{ByteSize, Millicores, Millis, ParseError};
pub use validate::Problem;
