//! The machine's side of all networks: forwarding, the table of rules, and what the machine has.

use std::fs;
use std::io;
use std::path::Path;

use hythe_runtime::{Error, ErrorKind, Result};
use hythe_shim::rootless_net;

use super::error::{file, kernel};
use super::firewall::{Bridge, Firewall};
use super::netlink::Session;
use super::netlink::address::Route;
use super::store::{Definition, Locked, Store};

const OPERATION: &str = "prepare networks";
const FORWARDING_V4: &str = "/proc/sys/net/ipv4/ip_forward";
const FORWARDING_V6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";
const NO_V6: &str = "/proc/sys/net/ipv6/conf/all/disable_ipv6";
const USUAL_MTU: u32 = 1500;

/// What the host has now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HostState {
    /// Largest packet that leaves the host.
    pub(super) mtu: u32,
    /// The host has IPv6 egress and may forward it.
    pub(super) v6: bool,
    /// Egress is by a program that an unprivileged user may run (slirp4netns, pasta).
    pub(super) by_program: bool,
}

impl Store {
    /// Brings forwarding and rules to what the networks need; most often there is nothing to do.
    pub(super) fn prepare(&self) -> Result<HostState> {
        let outside = outside()?;
        let failed = |error| kernel(OPERATION, "filtering by nf_tables", error);
        let (prefix, table) = (self.scope().prefix(), self.scope().table());
        let firewall = Firewall { table: &table, prefix: &prefix, by_program: outside.by_program };
        let own = self.own_definitions()?;
        if own.is_empty() {
            return Ok(outside);
        }
        forward(&own, outside)?;
        if !firewall.is_current(&self.bridges(outside)?).map_err(failed)? {
            self.apply_rules(&self.lock()?, outside)?;
        }
        if !firewall.is_open().map_err(failed)? {
            let _lock = self.lock()?;
            firewall.open_foreign().map_err(failed)?;
        }
        Ok(outside)
    }

    /// Replaces the rules; the lock is there so that nobody's older view wins.
    pub(super) fn apply_rules(&self, _lock: &Locked<'_>, outside: HostState) -> Result<()> {
        let (prefix, table) = (self.scope().prefix(), self.scope().table());
        let firewall = Firewall { table: &table, prefix: &prefix, by_program: outside.by_program };
        let bridges = self.bridges(outside)?;
        let applied =
            firewall.apply(&bridges).and_then(|()| if bridges.is_empty() { firewall.close_foreign() } else { Ok(()) });
        match applied.map_err(|error| kernel(OPERATION, "filtering by nf_tables", error)) {
            // Where plugins do it all there may be no nf_tables, and so no rules of ours.
            Err(error) if bridges.is_empty() && error.kind() == ErrorKind::Unsupported => Ok(()),
            applied => applied,
        }
    }

    /// Networks that no plugins care for.
    pub(super) fn own_definitions(&self) -> Result<Vec<Definition>> {
        let mut definitions = self.definitions()?;
        definitions.retain(|definition| definition.plugins.is_none());
        Ok(definitions)
    }

    /// All networks, as the rules see them; none where no rules are needed. What plugins care for is kept apart from what they do not.
    fn bridges(&self, outside: HostState) -> Result<Vec<Bridge>> {
        if self.own_definitions()?.is_empty() {
            return Ok(Vec::new());
        }
        let bridge = |definition: &Definition| Bridge {
            name: self.scope().bridge(definition.number),
            internal: definition.internal,
            outbound: definition
                .subnets()
                .filter(|subnet| {
                    definition.plugins.is_none() && leads_out(definition, subnet.address.is_ipv6(), outside)
                })
                .collect(),
        };
        Ok(self.definitions()?.iter().map(bridge).collect())
    }
}

/// Whether members of a network reach the outside by a family of addresses.
pub(super) fn leads_out(definition: &Definition, v6: bool, outside: HostState) -> bool {
    !definition.internal && (!v6 || outside.v6)
}

/// Whether the kernel gives links IPv6 addresses.
pub(super) fn has_v6() -> bool {
    fs::read_to_string(NO_V6).is_ok_and(|text| text.trim() == "0")
}

pub(super) fn outside() -> Result<HostState> {
    let look = || {
        let mut session = Session::route()?;
        let routes = session.routes()?;
        let default = routes.iter().find(|route| route.to.prefix == 0 && route.to.address.is_ipv4());
        let link = match default.and_then(|route| route.link) {
            Some(link) => session.link_at(link)?,
            None => None,
        };
        let by_program = link.as_ref().is_some_and(|link| link.name == rootless_net::LINK);
        let mtu = link.map_or(USUAL_MTU, |link| link.mtu.clamp(1280, USUAL_MTU));
        Ok(HostState { mtu, v6: may_forward_v6(&routes), by_program })
    };
    look().map_err(|error: io::Error| kernel(OPERATION, "asking for routes", error))
}

/// A machine that starts to forward IPv6 forgets the routes its router told it: there the way out stays IPv4.
fn may_forward_v6(routes: &[Route]) -> bool {
    let leads = routes.iter().any(|route| route.to.prefix == 0 && route.to.address.is_ipv6());
    leads && has_v6() && (is_on(FORWARDING_V6) || !routes.iter().any(|route| route.advertised))
}

fn forward(definitions: &[Definition], outside: HostState) -> Result<()> {
    if definitions.iter().all(|definition| definition.internal) {
        return Ok(());
    }
    turn_on(FORWARDING_V4)?;
    if outside.v6 { turn_on(FORWARDING_V6) } else { Ok(()) }
}

fn is_on(setting: &str) -> bool {
    fs::read_to_string(setting).is_ok_and(|text| text.trim() != "0")
}

fn turn_on(setting: &str) -> Result<()> {
    if is_on(setting) {
        return Ok(());
    }
    fs::write(setting, "1").map_err(|error| match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound => {
            let message =
                format!("bridge networks are unsupported because forwarding cannot be turned on: `{setting}`: {error}");
            Error::new(ErrorKind::Unsupported, OPERATION, message)
                .hint(format!("turn it on: `echo 1 > {setting}`"))
                .source(error)
        }
        _ => file(OPERATION, Path::new(setting), error),
    })
}
