//! Links of a network and of a member: bridge, pair of veth, addresses, routes.

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use hythe_runtime::{Error, ErrorKind, Result};

use super::error::{file, kernel};
use super::host::{HostState, leads_out};
use super::namespace::within;
use super::netlink::Session;
use super::netlink::link::{Link, Pair};
use super::store::{Definition, Store};
use super::subnet::Subnet;

const OPERATION: &str = "attach";

/// A member's end of a connection.
#[derive(Debug)]
pub(super) struct ContainerEnd<'a> {
    pub(super) namespace: BorrowedFd<'a>,
    /// `eth0`, `eth1`, …
    pub(super) link: String,
    pub(super) host: u32,
    /// Everything else is reached through this network.
    pub(super) is_default: bool,
}

/// Brings up the loopback link of a network namespace.
///
/// # Errors
/// `NotFound`: there is no namespace at the path. Otherwise what the kernel says.
pub fn loopback(namespace: &Path) -> Result<()> {
    let namespace = open_namespace(namespace)?;
    let raised = within(namespace.as_fd(), || raise_loopback(&mut Session::route()?));
    raised.map_err(|error| kernel("loopback", "link `lo`", error))
}

pub(super) fn open_namespace(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Error::new(ErrorKind::NotFound, OPERATION, format!("no network namespace at `{}`", path.display()))
                .source(error)
        }
        _ => file(OPERATION, path, error),
    })
}

impl Store {
    /// Makes the bridge of a network and brings it up, which is the last step: what is up is whole.
    pub(super) fn raise_bridge(&self, definition: &Definition, outside: HostState) -> Result<()> {
        let name = self.scope().bridge(definition.number);
        let hardware_address = self.scope().hardware_address(definition.number, 0);
        let raise = || {
            let mut session = Session::route()?;
            if session.link(&name)?.is_some_and(|link| link.up) {
                return Ok(());
            }
            session.add_bridge(&name, hardware_address, outside.mtu)?;
            let link = session.link(&name)?.ok_or(io::ErrorKind::NotFound)?;
            use_v6(&name, definition.v6.is_some())?;
            for subnet in definition.subnets() {
                session.add_address(link.index, subnet.gateway(), subnet.prefix)?;
            }
            session.raise(link.index)
        };
        raise().map_err(|error| kernel(OPERATION, format!("bridge `{name}` of network `{}`", definition.name), error))
    }

    /// Makes the pair of veth between a member and its bridge; a whole one stays.
    pub(super) fn connect_pair(&self, definition: &Definition, inside: &ContainerEnd<'_>) -> Result<()> {
        let (bridge, name) = self.link_names(definition, inside.host);
        let connect = || {
            let mut session = Session::route()?;
            let bridge = session.link(&bridge)?.ok_or(io::ErrorKind::NotFound)?;
            if let Some(there) = session.link(&name)? {
                if there.bridge == Some(bridge.index) && is_whole(&there, inside)? {
                    return Ok(());
                }
                session.delete_link(&name)?;
            }
            session.add_pair(&Pair {
                name: &name,
                bridge: bridge.index,
                mtu: bridge.mtu,
                inside: &inside.link,
                hardware_address: self.scope().hardware_address(definition.number, inside.host),
                namespace: inside.namespace,
            })
        };
        connect().map_err(|error| kernel(OPERATION, format!("link `{name}` to network `{}`", definition.name), error))
    }

    /// Gives a member's end its addresses and routes.
    pub(super) fn configure(
        &self,
        definition: &Definition,
        inside: &ContainerEnd<'_>,
        outside: HostState,
    ) -> Result<()> {
        let configure = || {
            let mut session = Session::route()?;
            raise_loopback(&mut session)?;
            let link = session.link(&inside.link)?.ok_or(io::ErrorKind::NotFound)?;
            use_v6(&inside.link, definition.v6.is_some())?;
            for subnet in definition.subnets() {
                session.add_address(link.index, subnet.host(inside.host), subnet.prefix)?;
            }
            session.raise(link.index)?;
            let out = |subnet: &Subnet| inside.is_default && leads_out(definition, subnet.address.is_ipv6(), outside);
            for subnet in definition.subnets().filter(out) {
                session.add_default_route(link.index, subnet.gateway())?;
            }
            Ok(())
        };
        within(inside.namespace, configure)
            .map_err(|error| kernel(OPERATION, format!("addresses in network `{}`", definition.name), error))
    }

    /// Removes a member's pair, both ends. Absent: success.
    pub(super) fn disconnect(&self, definition: &Definition, host: u32) -> Result<()> {
        let (_, name) = self.link_names(definition, host);
        let removed = Session::route().and_then(|mut session| session.delete_link(&name));
        removed.map_err(|error| kernel("detach", format!("link `{name}`"), error))
    }

    fn link_names(&self, definition: &Definition, host: u32) -> (String, String) {
        (self.scope().bridge(definition.number), self.scope().pair(definition.number, host))
    }
}

/// Whether the other end is in that namespace and called as it should be.
fn is_whole(pair: &Link, inside: &ContainerEnd<'_>) -> io::Result<bool> {
    let other = within(inside.namespace, || Session::route()?.link(&inside.link))?;
    Ok(other.is_some_and(|other| Some(other.index) == pair.peer && other.peer == Some(pair.index)))
}

pub(super) fn raise_loopback(session: &mut Session) -> io::Result<()> {
    let link = session.link("lo")?.ok_or(io::ErrorKind::NotFound)?;
    if link.up { Ok(()) } else { session.raise(link.index) }
}

/// Members must not play router for the machine or for each other, so nobody listens to what routers tell.
fn use_v6(link: &str, wanted: bool) -> io::Result<()> {
    let settings = if wanted { &["accept_ra", "disable_ipv6"][..] } else { &[] };
    for setting in settings {
        let path = format!("/proc/sys/net/ipv6/conf/{link}/{setting}");
        // To write the same again would wait for the kernel's lock over all links.
        if fs::read_to_string(&path)?.trim() != "0" {
            fs::write(&path, "0")?;
        }
    }
    Ok(())
}

/// The addresses of the host in a network.
pub(super) fn gateways(definition: &Definition) -> Vec<IpAddr> {
    definition.subnets().map(|subnet| subnet.gateway()).collect()
}
