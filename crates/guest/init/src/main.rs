//! The init of a guest: the first process in a virtual machine, which runs what its configuration says.
//!
//! It mounts, sets up the network, starts the main process, obeys the host, reaps, and powers off. Everything on disk is
//! the image's; nothing in it is trusted to help. A panic ends the guest as a kernel panic, which the host sees.

mod boot;
mod cgroup;
mod commands;
mod control;
mod copy_up;
mod files;
mod freeze;
mod listening;
mod modules;
mod mounts;
mod network;
mod outbox;
mod ports;
mod power;
mod process;
#[expect(unused_imports, reason = "the host uses the rest")]
mod protocol;
mod signals;
mod spawn;
mod stats;
mod supervisor;
mod user;

use std::fmt::Display;

fn main() {
    if std::process::id() != 1 {
        eprintln!("hythe-init: it runs as the first process of a virtual machine alone");
        std::process::exit(1);
    }
    let supervisor = boot::boot();
    supervisor.run();
}

/// Adds what was being done to a reason.
fn context<E: Display>(what: impl Display) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}
