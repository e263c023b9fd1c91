//! The few expressions of nf_tables that our rules are made of.

use std::net::Ipv4Addr;

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::{
    Bitwise, Cmp, DataAttribute, ExpressionAttribute, Expressions, Immediate, ListAttribute, Meta, MetaKey, Operator,
    Payload, Register, Verdict, VerdictAttribute,
};

use crate::subnet::Subnet;

/// One step of a rule.
pub(super) type Expression = ListAttribute<ExpressionAttribute>;

const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// Bits of a connection's state: established and related.
const KNOWN: u32 = 2 | 4;
const CT_REGISTER: u16 = 1;
const CT_KEY: u16 = 2;
const CT_KEY_STATE: u32 = 0;
/// `NFTA_REDIR_REG_PROTO_MIN` of the kernel's `nf_tables.h`.
const REDIRECT_PORT: u16 = 1;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
/// Length of a link's name with the end of its text.
const NAME: usize = 16;

/// The link that a packet came in by or leaves by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    In,
    Out,
}

/// The link has exactly this name, or where `equal` is false has not.
pub(super) fn link(side: Side, name: &str, equal: bool) -> Vec<Expression> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(NAME, 0);
    vec![load(side), compare(if equal { Operator::Equal } else { Operator::NotEqual }, bytes)]
}

/// The link's name begins so; written like `-i name+` of iptables.
pub(super) fn links(side: Side, prefix: &str) -> Vec<Expression> {
    vec![load(side), compare(Operator::Equal, prefix.as_bytes().to_vec())]
}

/// The packet belongs to a connection that was let through.
pub(super) fn known() -> Vec<Expression> {
    let state = vec![
        DefaultNla::new(CT_REGISTER, u32::from(Register::Reg1).to_be_bytes().to_vec()),
        DefaultNla::new(CT_KEY, CT_KEY_STATE.to_be_bytes().to_vec()),
    ];
    vec![
        Expressions::Other { expression_type: "ct".to_owned(), attributes: state }.into(),
        mask(KNOWN.to_ne_bytes().to_vec()),
        compare(Operator::NotEqual, vec![0; 4]),
    ]
}

/// The sender is in the subnet.
pub(super) fn from_subnet(subnet: Subnet) -> Vec<Expression> {
    within(subnet, if subnet.address.is_ipv4() { 12 } else { 8 })
}

/// The receiver is in the subnet.
pub(super) fn to_subnet(subnet: Subnet) -> Vec<Expression> {
    within(subnet, if subnet.address.is_ipv4() { 16 } else { 24 })
}

/// The receiver's port, of tcp or udp, is another one.
pub(super) fn not_to_port(port: u16) -> Vec<Expression> {
    vec![payload(TRANSPORT_HEADER, 2, 2), compare(Operator::NotEqual, port.to_be_bytes().to_vec())]
}

/// The packet goes to this address and port by this protocol.
pub(super) fn to_service(protocol: u8, address: Ipv4Addr, port: u16) -> Vec<Expression> {
    let mut service = within(Subnet { address: address.into(), prefix: 32 }, 16);
    service.extend([meta(MetaKey::L4Proto), compare(Operator::Equal, vec![protocol])]);
    service.extend([payload(TRANSPORT_HEADER, 2, 2), compare(Operator::Equal, port.to_be_bytes().to_vec())]);
    service
}

/// The packet goes to this port of the host that sends it.
pub(super) fn redirect(port: u16) -> Vec<Expression> {
    let data = DataAttribute::Value(port.to_be_bytes().to_vec());
    let register = DefaultNla::new(REDIRECT_PORT, u32::from(Register::Reg1).to_be_bytes().to_vec());
    vec![
        Expressions::Immediate(vec![Immediate::DestinationRegister(Register::Reg1), Immediate::Data(data)]).into(),
        Expressions::Other { expression_type: "redir".to_owned(), attributes: vec![register] }.into(),
    ]
}

/// The address at that place of the packet is in the subnet.
fn within(subnet: Subnet, offset: u32) -> Vec<Expression> {
    let (family, bytes, all) = match subnet.address {
        std::net::IpAddr::V4(address) => (IPV4, address.octets().to_vec(), 32),
        std::net::IpAddr::V6(address) => (IPV6, address.octets().to_vec(), 128),
    };
    let bits = (0..all / 8).map(|byte: u8| match subnet.prefix.saturating_sub(byte * 8) {
        8.. => 0xff,
        some => !(0xff_u8 >> some),
    });
    vec![
        meta(MetaKey::Nfproto),
        compare(Operator::Equal, vec![family]),
        payload(NETWORK_HEADER, offset, u32::from(all / 8)),
        mask(bits.collect()),
        compare(Operator::Equal, bytes),
    ]
}

/// Counts, as every rule of iptables does.
pub(super) fn counter() -> Expression {
    Expressions::Other { expression_type: "counter".to_owned(), attributes: Vec::new() }.into()
}

pub(super) fn accept() -> Expression {
    verdict(ACCEPT)
}

pub(super) fn drop_it() -> Expression {
    verdict(DROP)
}

/// The sender's address becomes the machine's.
pub(super) fn masquerade() -> Expression {
    Expressions::Other { expression_type: "masq".to_owned(), attributes: Vec::new() }.into()
}

fn load(side: Side) -> Expression {
    meta(match side {
        Side::In => MetaKey::Iifname,
        Side::Out => MetaKey::Oifname,
    })
}

fn payload(header: u32, offset: u32, length: u32) -> Expression {
    Expressions::Payload(vec![
        Payload::DestinationRegister(Register::Reg1),
        Payload::Base(header),
        Payload::Offset(offset),
        Payload::Len(length),
    ])
    .into()
}

fn meta(key: MetaKey) -> Expression {
    Expressions::Meta(vec![Meta::DestinationRegister(Register::Reg1), Meta::Key(key)]).into()
}

fn compare(operator: Operator, bytes: Vec<u8>) -> Expression {
    let data = DataAttribute::Value(bytes);
    Expressions::Cmp(vec![Cmp::SourceRegister(Register::Reg1), Cmp::Op(operator), Cmp::Data(data)]).into()
}

fn mask(bytes: Vec<u8>) -> Expression {
    let (length, nothing) = (u32::try_from(bytes.len()).unwrap_or(u32::MAX), vec![0; bytes.len()]);
    Expressions::Bitwise(vec![
        Bitwise::SourceRegister(Register::Reg1),
        Bitwise::DestinationRegister(Register::Reg1),
        Bitwise::Length(length),
        Bitwise::Mask(DataAttribute::Value(bytes)),
        Bitwise::Xor(DataAttribute::Value(nothing)),
    ])
    .into()
}

fn verdict(code: u32) -> Expression {
    let data = DataAttribute::Verdict(vec![VerdictAttribute::Code(Verdict::Other(code))]);
    Expressions::Immediate(vec![Immediate::DestinationRegister(Register::Verdict), Immediate::Data(data)]).into()
}
