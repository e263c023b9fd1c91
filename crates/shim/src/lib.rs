//! The small process that outlives the agent: one per container.
//!
//! For: whatever must go on while no agent is there: it holds the container's stdio, writes its log, reaps it, records its end durably, and answers
//! on a private socket. Also the files it shares with whoever looks at them: records, the journal of events, logs. [`run`] is the whole life of such a
//! process; it is single-threaded, and the only place that knows libcontainer. For an ordinary user all of it happens in a user namespace ([`namespace`]),
//! with a way out of its networks where there is a program for that ([`outward`]).
//! Not for: images, networks (a [`Network`] is given), plans, or anything asynchronous.
//!
//! ```text
//! instance/
//!   launch.json   what to start; written by whoever makes the instance
//!   run.json      what became of it: starting, running, failed, ended
//!   lock          a lock held by the living shim and by nobody else
//!   shim.sock     requests (see `protocol`)
//!   held          there while it is frozen for somebody who looks at its files
//!   logs/         segments (see `logs`)
//!   upper, work   the container's own layer
//!   root          where the file system is mounted, inside the shim's mount namespace only
//! ```

pub mod cgroup;
mod creator;
pub mod directory;
mod error;
mod executor;
pub mod files;
pub mod journal;
pub mod logs;
mod mapping;
pub mod namespace;
pub mod outward;
pub mod protocol;
pub mod record;
mod remains;
pub mod rootfs;
mod supervisor;
mod users;

pub use creator::Filter;
pub use directory::Directory;
pub use error::{Fault, FaultKind};
pub use mapping::Mapping;
pub use supervisor::{Network, NoNetwork, Report, run};
