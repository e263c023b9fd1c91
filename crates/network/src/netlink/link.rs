//! Links: bridges and pairs of veth.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use nix::libc;

use super::Session;
use crate::error::unless;

/// What we need to know of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mtu: u32,
    pub(crate) up: bool,
    /// The link's other end, in whatever namespace that is.
    pub(crate) peer: Option<u32>,
    pub(crate) hardware_address: [u8; 6],
    /// The bridge it is a port of.
    pub(crate) bridge: Option<u32>,
}

/// A veth pair to make: one end a port of a bridge here, the other in another namespace.
#[derive(Debug)]
pub(crate) struct Pair<'a> {
    pub(crate) name: &'a str,
    pub(crate) bridge: u32,
    pub(crate) mtu: u32,
    pub(crate) inside: &'a str,
    pub(crate) hardware_address: [u8; 6],
    pub(crate) namespace: BorrowedFd<'a>,
}

impl Session {
    /// The link of that name.
    pub(crate) fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut question = LinkMessage::default();
        question.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.one_link(question)
    }

    /// The link of that number.
    pub(crate) fn link_at(&mut self, index: u32) -> io::Result<Option<Link>> {
        let mut question = LinkMessage::default();
        question.header.index = index;
        self.one_link(question)
    }

    fn one_link(&mut self, question: LinkMessage) -> io::Result<Option<Link>> {
        match self.ask(RouteNetlinkMessage::GetLink(question), 0) {
            Ok(answers) => Ok(answers.into_iter().find_map(described)),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every link.
    pub(crate) fn links(&mut self) -> io::Result<Vec<Link>> {
        let answers = self.ask(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP)?;
        Ok(answers.into_iter().filter_map(described).collect())
    }

    /// A bridge, not up yet; there already: success. Its hardware address is fixed, so that it does not change with its ports.
    pub(crate) fn add_bridge(&mut self, name: &str, hardware_address: [u8; 6], mtu: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.attributes.extend([
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Address(hardware_address.to_vec()),
            LinkAttribute::Mtu(mtu),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ]);
        let made = self.act(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL);
        unless(libc::EEXIST, made)
    }

    /// Both ends in one step. Only this end comes up: the kernel makes the other one first, and it cannot be up alone.
    pub(crate) fn add_pair(&mut self, pair: &Pair<'_>) -> io::Result<()> {
        let mut peer = LinkMessage::default();
        peer.attributes.extend([
            LinkAttribute::IfName(pair.inside.to_owned()),
            LinkAttribute::Mtu(pair.mtu),
            LinkAttribute::Address(pair.hardware_address.to_vec()),
            LinkAttribute::NetNsFd(pair.namespace.as_raw_fd()),
        ]);
        let mut link = LinkMessage::default();
        raise(&mut link);
        link.attributes.extend([
            LinkAttribute::IfName(pair.name.to_owned()),
            LinkAttribute::Mtu(pair.mtu),
            LinkAttribute::Controller(pair.bridge),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ]);
        self.act(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Brings a link up.
    pub(crate) fn raise(&mut self, index: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        raise(&mut link);
        self.act(RouteNetlinkMessage::SetLink(link), 0)
    }

    /// Removes a link, and with it its other end. Absent: success.
    pub(crate) fn delete_link(&mut self, name: &str) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.to_owned()));
        unless(libc::ENODEV, self.act(RouteNetlinkMessage::DelLink(link), 0))
    }
}

fn raise(link: &mut LinkMessage) {
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
}

fn described(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        peer: None,
        hardware_address: [0; 6],
        bridge: None,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Address(address) => link.hardware_address = address.try_into().unwrap_or_default(),
            LinkAttribute::Link(peer) => link.peer = Some(peer),
            LinkAttribute::Controller(bridge) => link.bridge = Some(bridge),
            _ => {}
        }
    }
    Some(link)
}
