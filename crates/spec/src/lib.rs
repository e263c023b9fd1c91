//! What a user asks for: one service, its components, and every string format they use.
//!
//! For: parsing, validating (all errors at once), normalising and comparing service files; and the words in which the agent
//! reports what became of it (see [`vocabulary`]).
//! Not for: I/O, engines or time. Nothing here opens a file, a socket or a runtime; files that a service
//! names (`env_file`, permission profiles) are read through a trait that the caller provides.

mod build;
mod bytes;
pub mod causes;
mod config_change;
mod cpus;
mod dependency;
mod device;
pub mod diagnostics;
pub mod diff;
mod duration;
pub mod env_file;
pub mod file;
mod fingerprint;
pub mod health;
pub mod image;
pub mod mask;
pub mod mount;
mod nearest;
pub mod network;
pub mod permissions;
mod platform;
mod policy;
pub mod port;
pub mod process;
mod restart;
pub mod root_equivalent;
pub mod secret;
pub mod service;
mod shell;
mod signal;
pub mod sysctl;
pub mod units;
pub mod validate;
pub mod vocabulary;

pub use build::BuildNetwork;
pub use config_change::ConfigChange;
pub use dependency::{Condition, Dependency};
pub use device::Device;
pub use diagnostics::{Diagnostic, Diagnostics, MAX_FILE, Severity, text_of};
pub use diff::{Change, ChangeKind, diff};
pub use file::{Files, Parsed, json_schema, parse, render};
pub use fingerprint::fingerprint;
pub use health::{Health, HttpProbe, OnFailure, Probe, Statuses, Tls};
pub use image::ImageRef;
pub use mount::{Mount, MountSource, Paths, TmpfsOptions};
pub use network::{ExtraHost, HostAddress, Network};
pub use permissions::{Inbound, Outbound, Permissions, Seccomp};
pub use platform::Platform;
pub use policy::PullPolicy;
pub use port::{Port, Protocol};
pub use process::{Restart, Signal, Ulimit};
pub use secret::{Secret, SecretFrom, SecretSource};
pub use service::{Build, Component, Drift, Isolation, LogLimits, Resources, RuntimeKind, Service};
pub use units::{ByteSize, Millicores, Millis, ParseError};
pub use validate::Problem;
