//! Whether this machine can have our networks, found out by making one where nobody sees it.

use std::io;
use std::os::fd::AsFd;
use std::thread;

use hythe_runtime::{Error, ErrorKind, Result};
use nix::sched::{CloneFlags, unshare};

use super::error::kernel;
use super::firewall::{Bridge, Firewall};
use super::netlink::Session;
use super::netlink::link::Pair;
use super::subnet::Subnet;

const BRIDGE: &str = "hythe-try";

/// Makes a bridge, a pair of veth and our table in a network namespace of its own, which is gone afterwards.
///
/// # Errors
/// `Unsupported`, saying what the machine lacks.
pub fn supported() -> Result<()> {
    let tried = thread::spawn(attempt).join();
    tried.unwrap_or_else(|_| Err(("a thread", io::Error::other("the thread died")))).map_err(|(what, error)| {
        let why = match error.raw_os_error() {
            Some(nix::libc::EPERM | nix::libc::EACCES) => "the privilege for it is missing",
            _ => "the kernel cannot make it",
        };
        Error::new(
            ErrorKind::Unsupported,
            "probe networks",
            format!("bridge networks are unsupported because of {what}: {why}: {error}"),
        )
        .hint("use `network = \"host\"` or `\"none\"`, or another runtime")
        .source(error)
    })
}

/// Chains of other firewalls that may stop what instances send to the outside, and that we do not touch, as `inet filter forward`. Published ports are not
/// concerned, and members of a network among each other only where bridges call iptables (`net.bridge.bridge-nf-call-iptables`). Whoever runs
/// that firewall has to let links called `hythe…` through.
///
/// # Errors
/// What the kernel says.
pub fn obstacles() -> Result<Vec<String>> {
    Firewall::obstacles().map_err(|error| kernel("probe networks", "asking for the chains of nf_tables", error))
}

fn attempt() -> std::result::Result<(), (&'static str, io::Error)> {
    let of = |what: &'static str| move |error| (what, error);
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| ("network namespaces", error.into()))?;
    let mut session = Session::route().map_err(of("netlink"))?;
    session.add_bridge(BRIDGE, [2, 0, 0, 0, 0, 1], 1500).map_err(of("bridges"))?;
    let bridge = session.link(BRIDGE).map_err(of("bridges"))?.map_or(0, |link| link.index);
    let here = std::fs::File::open("/proc/thread-self/ns/net").map_err(of("network namespaces"))?;
    let pair = Pair {
        name: "hythe-try0",
        bridge,
        mtu: 1500,
        inside: "eth0",
        hardware_address: [2, 0, 0, 0, 0, 2],
        namespace: here.as_fd(),
    };
    session.add_pair(&pair).map_err(of("veth"))?;
    let bridges = [Bridge { name: BRIDGE.to_owned(), internal: false, outbound: vec![Subnet::v4(0)] }];
    Firewall { table: BRIDGE, prefix: BRIDGE, by_program: true }
        .apply(&bridges)
        .map_err(of("nf_tables (with masquerading)"))
}
