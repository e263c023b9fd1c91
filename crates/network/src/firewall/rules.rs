//! What the table says, made from the networks. Pure.
//!
//! ```text
//! forward      what belongs to a known connection        accept
//!              in by a bridge, out by the same           accept      (seen here only where bridges call iptables)
//!              in by the bridge of an internal network   drop
//!              out by any of our bridges                 drop        (other networks, other machines)
//!              to what carries it out, but for names     drop        (only where that is a program: it could reach the machine's loopback)
//! postrouting  from a network, not out by its own bridge masquerade  (not for internal networks)
//! ```

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;

use hythe_shim::rootless_net;
use netlink_packet_netfilter::nftables::InetHookNumber;

use super::expression::{
    Expression, Side, accept, drop_it, from_subnet, known, link, links, masquerade, not_to_port, redirect, to_service,
    to_subnet,
};
use crate::subnet::Subnet;

/// Changes when the rules made from the same networks do.
const EDITION: u32 = 1;
/// Before the filter chains of others.
const BEFORE_FILTER: i32 = -10;
const SOURCE_NAT: i32 = 100;
const DESTINATION_NAT: i32 = -100;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// The port that servers of names have.
const NAMES: u16 = 53;
/// A comment as the `nft` program shows it.
const COMMENT: u8 = 0;

/// What the rules need to know of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bridge {
    pub(crate) name: String,
    pub(crate) internal: bool,
    /// The subnets whose members reach the outside.
    pub(crate) outbound: Vec<Subnet>,
}

/// A base chain with its rules.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) hook: InetHookNumber,
    pub(super) priority: i32,
    pub(super) rules: Vec<Vec<Expression>>,
}

pub(super) fn chains(prefix: &str, bridges: &[Bridge], by_program: bool) -> [Chain; 2] {
    let forward = Chain {
        name: "forward",
        kind: "filter",
        hook: InetHookNumber::Forward,
        priority: BEFORE_FILTER,
        rules: forward(prefix, bridges, by_program),
    };
    let postrouting = Chain {
        name: "postrouting",
        kind: "nat",
        hook: InetHookNumber::PostRouting,
        priority: SOURCE_NAT,
        rules: bridges.iter().flat_map(leaving).collect(),
    };
    [forward, postrouting]
}

/// Redirects what is sent to a name server's address to the ports where it listens.
pub(super) fn redirected_names(server: Ipv4Addr, udp: u16, tcp: u16) -> Chain {
    let rule = |protocol, port| [to_service(protocol, server, NAMES), redirect(port)].concat();
    Chain {
        name: "output",
        kind: "nat",
        hook: InetHookNumber::LocalOut,
        priority: DESTINATION_NAT,
        rules: vec![rule(UDP, udp), rule(TCP, tcp)],
    }
}

fn forward(prefix: &str, bridges: &[Bridge], by_program: bool) -> Vec<Vec<Expression>> {
    let mut rules = vec![[known(), vec![accept()]].concat()];
    for bridge in bridges {
        rules.push([link(Side::In, &bridge.name, true), link(Side::Out, &bridge.name, true), vec![accept()]].concat());
        if bridge.internal {
            rules.push([link(Side::In, &bridge.name, true), vec![drop_it()]].concat());
        }
    }
    rules.push([links(Side::Out, prefix), vec![drop_it()]].concat());
    if by_program {
        let (address, prefix) = rootless_net::SUBNET;
        let to = to_subnet(Subnet { address: address.into(), prefix });
        rules.push([link(Side::Out, rootless_net::LINK, true), to, not_to_port(NAMES), vec![drop_it()]].concat());
    }
    rules
}

fn leaving(bridge: &Bridge) -> Vec<Vec<Expression>> {
    let masqueraded =
        |subnet: &Subnet| [from_subnet(*subnet), link(Side::Out, &bridge.name, false), vec![masquerade()]].concat();
    bridge.outbound.iter().map(masqueraded).collect()
}

/// The table's comment: `hythe` and the fingerprint of what the rules were made from.
pub(super) fn comment(bridges: &[Bridge], by_program: bool) -> Vec<u8> {
    let mut hasher = DefaultHasher::new();
    (EDITION, format!("{bridges:?}"), by_program).hash(&mut hasher);
    let text = format!("hythe {:016x}", hasher.finish());
    let mut bytes = vec![COMMENT, u8::try_from(text.len() + 1).unwrap_or(u8::MAX)];
    bytes.extend(text.bytes());
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge(name: &str, internal: bool) -> Bridge {
        let outbound = if internal { vec![] } else { vec![Subnet::v4(1)] };
        Bridge { name: name.to_owned(), internal, outbound }
    }

    #[test]
    fn an_internal_network_has_a_rule_more_and_no_way_out() {
        let [forward, postrouting] = chains("hythe", &[bridge("hythe-a", false)], false);
        assert_eq!((forward.rules.len(), postrouting.rules.len()), (3, 1));
        let [forward, postrouting] = chains("hythe", &[bridge("hythe-a", true)], false);
        assert_eq!((forward.rules.len(), postrouting.rules.len()), (4, 0));
        let [forward, postrouting] = chains("hythe", &[bridge("hythe-a", true)], true);
        assert_eq!((forward.rules.len(), postrouting.rules.len()), (5, 0));
    }

    #[test]
    fn the_comment_says_what_the_rules_were_made_from() {
        let (one, other) = (comment(&[bridge("hythe-a", false)], false), comment(&[bridge("hythe-a", true)], false));
        assert_ne!(one, other);
        assert_eq!(one, comment(&[bridge("hythe-a", false)], false));
        assert_ne!(one, comment(&[bridge("hythe-a", false)], true));
    }
}
