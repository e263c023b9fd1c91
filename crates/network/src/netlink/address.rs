//! Addresses and routes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::libc;

use super::Session;
use crate::error::unless;
use crate::subnet::Subnet;

/// A route of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// Where it leads.
    pub(crate) to: Subnet,
    /// Through which link.
    pub(crate) link: Option<u32>,
    /// A router told it to us (IPv6); the kernel drops such routes when it starts to forward.
    pub(crate) advertised: bool,
}

impl Session {
    /// Gives a link an address that is usable at once. Has it already: success.
    pub(crate) fn add_address(&mut self, link: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.index = link;
        message.header.prefix_len = prefix;
        message.header.family = family(address);
        message.attributes.push(AddressAttribute::Address(address));
        match address {
            IpAddr::V4(_) => message.attributes.push(AddressAttribute::Local(address)),
            // We gave it to nobody else: no need to wait for the proof.
            IpAddr::V6(_) => message.header.flags = AddressHeaderFlags::Nodad,
        }
        let added = self.act(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL);
        unless(libc::EEXIST, added)
    }

    /// Routes everything through a gateway. Done already: success.
    pub(crate) fn add_default_route(&mut self, link: u32, gateway: IpAddr) -> io::Result<()> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(gateway);
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Static;
        message.header.scope = RouteScope::Universe;
        message.header.kind = RouteType::Unicast;
        message.attributes.extend([RouteAttribute::Gateway(gateway.into()), RouteAttribute::Oif(link)]);
        let added = self.act(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL);
        unless(libc::EEXIST, added)
    }

    /// The routes of the main table.
    pub(crate) fn routes(&mut self) -> io::Result<Vec<Route>> {
        let answers = self.ask(RouteNetlinkMessage::GetRoute(RouteMessage::default()), NLM_F_DUMP)?;
        Ok(answers.into_iter().filter_map(route_of).collect())
    }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn route_of(answer: RouteNetlinkMessage) -> Option<Route> {
    let RouteNetlinkMessage::NewRoute(message) = answer else { return None };
    if message.header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let any = match message.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut route = Route {
        to: Subnet { address: any, prefix: message.header.destination_prefix_length },
        link: None,
        advertised: message.header.protocol == RouteProtocol::Ra,
    };
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => route.to.address = address.into(),
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => route.to.address = address.into(),
            RouteAttribute::Oif(link) => route.link = Some(link),
            _ => {}
        }
    }
    Some(route)
}
