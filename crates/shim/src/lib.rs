//! The small process that outlives the agent: one per container.
//!
//! For: whatever must go on while no agent is there: it holds the container's stdio, writes its log, reaps it, records its end durably, and answers
//! on a private socket. Also the files it shares with whoever looks at them: records, the journal of events, logs. [`run`] is the whole life of such a
//! process; it is single-threaded, and the only place that knows libcontainer. For an unprivileged user all of it happens in a user namespace ([`namespace`]),
//! with a way out of its networks where there is a program for that ([`rootless_net`]).
//! Not for: images, networks (a [`Network`] is given), plans, or anything asynchronous.
//!
//! ```text
//! instance/
//!   launch.json   what to start; written by whoever makes the instance
//!   run.json      what became of it: starting, running, failed, stopped
//!   lock          a lock held by the living shim and by nobody else
//!   shim.sock     requests (see `protocol`)
//!   held          there while it is frozen for somebody who looks at its files
//!   logs/         segments (see `logs`)
//!   engine        what libcontainer keeps, inside the shim's mount namespace only
//!   upper, work   the container's own layer
//!   root          where the file system is mounted, inside the shim's mount namespace only
//! ```

mod apparmor;
pub mod at_rest;
pub mod cgroup;
mod cgroup_setup;
mod copy_up;
mod create;
mod descriptors;
mod device_filter;
mod devices;
pub mod directory;
mod error;
mod executor;
pub mod files;
pub mod journal;
mod keyring;
mod library_words;
pub mod logs;
mod mapping;
mod mount_points;
pub mod namespace;
mod orphans;
mod overlay;
pub mod program;
pub mod protocol;
pub mod record;
pub mod rootfs;
pub mod rootless_net;
mod signals;
mod supervisor;
mod sysctls;
mod users;
mod workdir;

pub use apparmor::AppArmor;
pub use cgroup_setup::missing_device_filter;
pub use create::Filter;
pub use directory::Directory;
pub use error::{Doing, ShimError, ShimErrorKind};
pub use mapping::Mapping;
pub use supervisor::{
    Client, Network, NoNetwork, Report, Role, block_signals, own_network, report_and_close, run, supervise,
};
pub use users::{Ids, resolve as resolve_user};
