//! The in-process runtime: a complete driver whose engine is part of it. Instances are tasks that interpret a small shell.
//!
//! For: the reference that the conformance suite is proven on, tests of everything above the seam, demonstrations.
//! Every promise of [`Runtime`](hythe_runtime::Runtime) and its facets is kept, with events, logs, networks, volumes and images.
//! Not for: real work. It starts no process, opens no port and limits nothing; host paths are touched only where a plan binds them.
#![doc = include_str!("docs.md")]
#![expect(clippy::disallowed_methods, reason = "it stands for an engine, which has the host's clock")]

mod archives;
mod attach;
mod builder;
mod capability;
mod catalogue;
mod config;
mod connect;
mod console;
mod control;
mod dockerfile;
mod driver;
mod engine;
mod error;
mod exec;
mod files;
mod image_load;
mod images;
mod instance;
mod lifecycle;
mod logs;
mod mounts;
mod networks;
mod observe;
mod ports;
mod process;
mod scheduling;
mod shell;
mod snapshots;
mod stats;
mod translate;
mod volumes;
mod watch;

pub use builder::MemoryBuilder;
pub use config::Config;
pub use connect::connect;
pub use control::MemoryControl;
pub use driver::Memory;
