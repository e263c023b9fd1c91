//! The few things a test does and sees in the kernel, told in the kernel's own language and not by the code under test.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::Path;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Hook, InetHookNumber, NfTablesMessage, RuleAttribute, RuleMessage, TableAttribute,
    TableMessage,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily as Family,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};

fn bytes<T: NetlinkSerializable>(message: impl Into<NetlinkPayload<T>>, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut message = NetlinkMessage::new(header, message.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn exchange<T: NetlinkDeserializable>(protocol: isize, bytes: &[u8]) -> std::io::Result<Vec<T>> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(bytes, 0)?;
    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while !rest.is_empty() {
            let message = NetlinkMessage::<T>::deserialize(rest).map_err(std::io::Error::other)?;
            rest = rest.get((message.header.length as usize).next_multiple_of(4)..).unwrap_or_default();
            match message.payload {
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(answers),
                NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                _ => {}
            }
        }
    }
}

fn act(message: RouteNetlinkMessage) {
    let bytes = bytes(message, NLM_F_ACK | NLM_F_CREATE);
    exchange::<RouteNetlinkMessage>(NETLINK_ROUTE, &bytes).unwrap();
}

fn all_links() -> Vec<LinkMessage> {
    let question = bytes(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP);
    let answers = exchange(NETLINK_ROUTE, &question).unwrap().into_iter();
    answers
        .filter_map(|answer| if let RouteNetlinkMessage::NewLink(link) = answer { Some(link) } else { None })
        .collect()
}

fn name(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

pub(crate) fn links() -> Vec<String> {
    all_links().iter().filter_map(name).map(str::to_owned).collect()
}

fn index(wanted: &str) -> u32 {
    all_links().iter().find(|link| name(link) == Some(wanted)).unwrap().header.index
}

pub(crate) fn raise(link: &str) {
    let mut message = LinkMessage::default();
    message.header.index = index(link);
    up(&mut message);
    act(RouteNetlinkMessage::SetLink(message));
}

pub(crate) fn delete(link: &str) {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(link.to_owned()));
    let gone = exchange::<RouteNetlinkMessage>(NETLINK_ROUTE, &bytes(RouteNetlinkMessage::DelLink(message), NLM_F_ACK));
    // The other end of a pair goes with the one.
    assert!(gone.is_ok() || !links().iter().any(|name| name == link));
}

fn up(message: &mut LinkMessage) {
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
}

/// A pair of veth, one end here, up, and one in another namespace, down.
pub(crate) fn pair(here: &str, there: &str, namespace: &Path) {
    let namespace = File::open(namespace).unwrap();
    let mut peer = LinkMessage::default();
    peer.attributes.extend([LinkAttribute::IfName(there.to_owned()), LinkAttribute::NetNsFd(namespace.as_raw_fd())]);
    let mut link = LinkMessage::default();
    up(&mut link);
    let info = vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer)))];
    link.attributes.extend([LinkAttribute::IfName(here.to_owned()), LinkAttribute::LinkInfo(info)]);
    act(RouteNetlinkMessage::NewLink(link));
}

pub(crate) fn address(link: &str, address: IpAddr, prefix: u8) {
    let mut message = AddressMessage::default();
    message.header.index = index(link);
    message.header.prefix_len = prefix;
    message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.attributes.push(AddressAttribute::Address(address));
    if address.is_ipv4() {
        message.attributes.push(AddressAttribute::Local(address));
    } else {
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    act(RouteNetlinkMessage::NewAddress(message));
}

pub(crate) fn default_route(link: &str, gateway: IpAddr) {
    let any: IpAddr = if gateway.is_ipv4() { "0.0.0.0".parse().unwrap() } else { "::".parse().unwrap() };
    route(link, any, 0, gateway);
}

pub(crate) fn route(link: &str, to: IpAddr, prefix: u8, gateway: IpAddr) {
    let mut message = RouteMessage::default();
    message.header.address_family = if gateway.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.table = 254;
    message.header.destination_prefix_length = prefix;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes.extend([RouteAttribute::Gateway(gateway.into()), RouteAttribute::Oif(index(link))]);
    if prefix > 0 {
        message.attributes.push(RouteAttribute::Destination(to.into()));
    }
    act(RouteNetlinkMessage::NewRoute(message));
}

fn filter(family: Family, message: NfTablesMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), message)
}

fn transaction(messages: Vec<(Family, NfTablesMessage)>) {
    let control = |message| NetfilterMessage::new(NetfilterHeader::new(Family::Unspec, 0, 10), message);
    let mut batch = bytes(control(ControlMessage::BatchBegin), 0);
    for (family, message) in messages {
        batch.extend(bytes(filter(family, message), NLM_F_CREATE | NLM_F_ACK));
    }
    batch.extend(bytes(control(ControlMessage::BatchEnd), 0));
    exchange::<NetfilterMessage>(NETLINK_NETFILTER, &batch).unwrap();
}

/// What Docker leaves: iptables' `FORWARD` drops, and bridges call iptables.
pub(crate) fn forward_drops() {
    dropping_chain(Family::IPv4, "FORWARD");
    dropping_chain(Family::IPv6, "FORWARD");
    for call in ["iptables", "ip6tables"] {
        // Absent where bridges never call it.
        let _ = std::fs::write(format!("/proc/sys/net/bridge/bridge-nf-call-{call}"), "1");
    }
}

/// What somebody may have who wrote a firewall by hand.
pub(crate) fn firewall_by_hand() {
    dropping_chain(Family::Inet, "forward");
}

fn dropping_chain(family: Family, name: &str) {
    let table = TableMessage { attributes: vec![TableAttribute::Name("filter".to_owned())] };
    let chain = ChainMessage {
        attributes: vec![
            ChainAttribute::Table("filter".to_owned()),
            ChainAttribute::Name(name.to_owned()),
            ChainAttribute::Type("filter".to_owned()),
            ChainAttribute::Policy(0),
            ChainAttribute::Hook(vec![Hook::Number(InetHookNumber::Forward.into()), Hook::Priority(0)]),
        ],
    };
    transaction(vec![(family, NfTablesMessage::NewTable(table)), (family, NfTablesMessage::NewChain(chain))]);
}

/// How many rules are in that chain.
pub(crate) fn forward_rules() -> usize {
    let attributes = vec![RuleAttribute::Table("filter".to_owned()), RuleAttribute::Chain("FORWARD".to_owned())];
    let question = bytes(filter(Family::IPv4, NfTablesMessage::GetRule(RuleMessage { attributes })), NLM_F_DUMP);
    exchange::<NetfilterMessage>(NETLINK_NETFILTER, &question).unwrap().len()
}

pub(crate) fn tables() -> Vec<String> {
    let all = NfTablesMessage::GetTable(TableMessage { attributes: Vec::new() });
    let answers = exchange(NETLINK_NETFILTER, &bytes(filter(Family::Unspec, all), NLM_F_DUMP)).unwrap();
    let tables = answers.into_iter().filter_map(|answer: NetfilterMessage| match answer.inner {
        NetfilterMessageInner::NfTables(NfTablesMessage::NewTable(table)) => Some(table),
        _ => None,
    });
    let names = tables.flat_map(|table| table.attributes).filter_map(|attribute| match attribute {
        TableAttribute::Name(name) => Some(name),
        _ => None,
    });
    names.collect()
}

/// As `nft flush ruleset` does.
pub(crate) fn delete_table(name: &str) {
    let table = TableMessage { attributes: vec![TableAttribute::Name(name.to_owned())] };
    transaction(vec![(Family::Inet, NfTablesMessage::DeleteTable(table))]);
}
