//! DNS messages: which question a query asks, and the replies that are made here. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::{A, AAAA, PTR, RData};
use simple_dns::{CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, RCODE, ResourceRecord, TYPE};

/// Length of a message's header (RFC 1035, 4.1.1).
const HEADER: usize = 12;
/// Longest query that is looked at.
const LONGEST_QUERY: usize = 4096;
/// Longest message over UDP for a client that does not say more (RFC 1035, 4.2.1).
const UDP_LENGTH: usize = 512;
/// Seconds that a client may keep a peer's address: peers are replaced.
const TTL: u32 = 1;

/// What a query asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// Labels in lower case, joined by dots, without one at the end.
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// The kinds of record that are answered here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    V4,
    V6,
    Pointer,
    Other,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The addresses of a name that exists; those of the family asked for are given, which may be none.
    Addresses(Vec<IpAddr>),
    /// The name of an address.
    Pointer(String),
    /// There is no such name.
    NoSuchName,
    /// It cannot be found out.
    Failure,
    /// The query makes no sense.
    Malformed,
}

impl Question {
    /// The question of a query. `None`: not an ordinary query with one question.
    pub(super) fn of(query: &[u8]) -> Option<Self> {
        let packet = parse(query)?;
        let question = packet.questions.first()?;
        let labels = question.qname.get_labels().iter();
        let labels: Vec<_> = labels.map(|label| String::from_utf8_lossy(label.as_ref()).to_ascii_lowercase()).collect();
        let internet = matches!(question.qclass, QCLASS::CLASS(CLASS::IN) | QCLASS::ANY);
        let kind = match question.qtype {
            QTYPE::TYPE(TYPE::A) if internet => Kind::V4,
            QTYPE::TYPE(TYPE::AAAA) if internet => Kind::V6,
            QTYPE::TYPE(TYPE::PTR) if internet => Kind::Pointer,
            _ => Kind::Other,
        };
        Some(Self { name: labels.join("."), kind })
    }

    /// The address whose name a pointer question asks for (RFC 1035, 3.5; RFC 3596, 2.5).
    pub(super) fn address(&self) -> Option<IpAddr> {
        if self.kind != Kind::Pointer {
            return None;
        }
        if let Some(reversed) = self.name.strip_suffix(".in-addr.arpa") {
            let octets: Vec<u8> = reversed.rsplit('.').map(|octet| octet.parse().ok()).collect::<Option<_>>()?;
            return Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into());
        }
        let digits: String = self.name.strip_suffix(".ip6.arpa")?.rsplit('.').collect();
        let whole = digits.len() == 32 && self.name.len() == 63 + ".ip6.arpa".len();
        u128::from_str_radix(&digits, 16).ok().filter(|_| whole).map(|bits| Ipv6Addr::from(bits).into())
    }
}

/// The reply to a query; `None`: it is no query that could be replied to. `udp`: it is cut where the client takes no more.
pub(super) fn reply(query: &[u8], answer: &Answer, udp: bool) -> Option<Vec<u8>> {
    let Some(packet) = parse(query) else { return malformed(query) };
    let mut reply = Packet::new_reply(packet.id());
    reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
    if packet.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    reply.questions = packet.questions.clone();
    let question = packet.questions.first()?;
    match answer {
        Answer::Addresses(addresses) => {
            let wanted = Question::of(query)?.kind;
            reply.answers = addresses.iter().filter_map(|address| record(&question.qname, *address, wanted)).collect();
        }
        Answer::Pointer(name) => {
            let data = RData::PTR(PTR(Name::new(name).ok()?.into_owned()));
            reply.answers.push(ResourceRecord::new(question.qname.clone(), CLASS::IN, TTL, data));
        }
        Answer::NoSuchName => *reply.rcode_mut() = RCODE::NameError,
        Answer::Failure => *reply.rcode_mut() = RCODE::ServerFailure,
        Answer::Malformed => *reply.rcode_mut() = RCODE::FormatError,
    }
    let longest = packet.opt().map_or(UDP_LENGTH, |opt| usize::from(opt.udp_packet_size).max(UDP_LENGTH));
    let bytes = reply.build_bytes_vec_compressed().ok()?;
    if !udp || bytes.len() <= longest {
        return Some(bytes);
    }
    reply.answers.clear();
    reply.set_flags(PacketFlag::TRUNCATION);
    reply.build_bytes_vec_compressed().ok()
}

/// Whether a message of a server is the reply to a query: the same id and question.
pub(super) fn is_reply(query: &[u8], message: &[u8]) -> bool {
    let is_response = message.get(2).is_some_and(|flags| flags & 0x80 != 0);
    let end = question_end(query);
    is_response
        && query.get(..2) == message.get(..2)
        && end.is_some_and(|end| {
            let question = |bytes: &[u8]| bytes.get(HEADER..end).map(<[u8]>::to_ascii_lowercase);
            question_end(message) == Some(end) && question(query) == question(message)
        })
}

/// Where the first question ends, for a message whose questions are not compressed, as no first one can be.
fn question_end(message: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    loop {
        match usize::from(*message.get(at)?) {
            0 => return Some(at + 5),
            length @ 1..=63 => at += length + 1,
            _ => return None,
        }
    }
}

fn parse(query: &[u8]) -> Option<Packet<'_>> {
    // The counts are looked at first: the parser takes room for as many records as they say.
    let count = |at: usize| Some(u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]));
    let plain = query.len() <= LONGEST_QUERY && count(4)? == 1 && count(6)? == 0 && count(8)? == 0 && count(10)? <= 8;
    if !plain || query.get(2)? & 0x80 != 0 {
        return None;
    }
    Packet::parse(query).ok().filter(|packet| packet.opcode() == OPCODE::StandardQuery)
}

/// The reply to what is no query: its id and nothing else. Replies are not replied to.
fn malformed(query: &[u8]) -> Option<Vec<u8>> {
    let (id, flags) = (query.get(..2)?, *query.get(2)?);
    if flags & 0x80 != 0 {
        return None;
    }
    let mut reply = Packet::new_reply(u16::from_be_bytes([id[0], id[1]]));
    *reply.rcode_mut() = RCODE::FormatError;
    reply.build_bytes_vec().ok()
}

fn record<'a>(name: &Name<'a>, address: IpAddr, wanted: Kind) -> Option<ResourceRecord<'a>> {
    let data = match (address, wanted) {
        (IpAddr::V4(address), Kind::V4) => RData::A(A::from(address)),
        (IpAddr::V6(address), Kind::V6) => RData::AAAA(AAAA::from(address)),
        _ => return None,
    };
    Some(ResourceRecord::new(name.clone(), CLASS::IN, TTL, data))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn query(name: &str, kind: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(7);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let name = Name::new(name).unwrap();
        packet.questions.push(simple_dns::Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
        packet.build_bytes_vec().unwrap()
    }

    #[test]
    fn question_name_is_lower_case_without_final_dot() {
        let question = Question::of(&query("Db.Shop", TYPE::A)).unwrap();
        assert_eq!(question, Question { name: "db.shop".into(), kind: Kind::V4 });
        assert_eq!(Question::of(&query("db", TYPE::MX)).unwrap().kind, Kind::Other);
    }

    #[test]
    fn pointer_question_names_its_address() {
        let question = Question::of(&query("3.2.192.10.in-addr.arpa", TYPE::PTR)).unwrap();
        assert_eq!(question.address(), Some("10.192.2.3".parse().unwrap()));
        let six = "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa";
        let question = Question::of(&query(six, TYPE::PTR)).unwrap();
        assert_eq!(question.address(), Some("4321:0:1:2:3:4:567:89ab".parse().unwrap()));
        for name in ["192.10.in-addr.arpa", "a.b.c.d.in-addr.arpa", "1.2.ip6.arpa"] {
            assert_eq!(Question::of(&query(name, TYPE::PTR)).unwrap().address(), None, "{name}");
        }
    }

    #[test]
    fn reply_has_the_addresses_of_the_family_asked_for() {
        let addresses = Answer::Addresses(vec!["10.192.0.2".parse().unwrap(), "fd00::2".parse().unwrap()]);
        for (kind, expected) in [(TYPE::A, 1), (TYPE::AAAA, 1), (TYPE::MX, 0)] {
            let query = query("db", kind);
            let bytes = reply(&query, &addresses, true).unwrap();
            let packet = Packet::parse(&bytes).unwrap();
            assert_eq!((packet.id(), packet.answers.len(), packet.rcode()), (7, expected, RCODE::NoError));
            assert!(packet.has_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE));
            assert!(is_reply(&query, &bytes));
        }
    }

    #[test]
    fn reply_longer_than_a_datagram_is_truncated_over_udp_only() {
        let many = (0..100).map(|host| IpAddr::from([10, 192, 0, host])).collect();
        let (query, answer) = (query("db", TYPE::A), Answer::Addresses(many));
        let cut = reply(&query, &answer, true).unwrap();
        assert!(cut.len() <= UDP_LENGTH && Packet::parse(&cut).unwrap().has_flags(PacketFlag::TRUNCATION));
        assert_eq!(Packet::parse(&reply(&query, &answer, false).unwrap()).unwrap().answers.len(), 100);
    }

    #[test]
    fn reply_to_another_question_or_id_is_refused() {
        let asked = query("db", TYPE::A);
        let other = reply(&query("web", TYPE::A), &Answer::NoSuchName, true).unwrap();
        assert!(!is_reply(&asked, &other));
        let mut forged = reply(&asked, &Answer::NoSuchName, true).unwrap();
        forged[0] ^= 1;
        assert!(!is_reply(&asked, &forged));
        assert!(!is_reply(&asked, &asked), "a query is no reply");
    }

    #[test]
    fn malformed_query_is_format_error_and_a_reply_gets_none() {
        let garbage = [1, 2, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 9];
        let bytes = reply(&garbage, &Answer::Malformed, true).unwrap();
        assert_eq!(Packet::parse(&bytes).unwrap().rcode(), RCODE::FormatError);
        assert_eq!(reply(&[1, 2, 0x80, 0], &Answer::Malformed, true), None);
        assert_eq!(reply(&[1], &Answer::Malformed, true), None);
    }
}
