//! Rules of nf_tables, as the kernel lists them. `nft` need not be installed, and no library is needed to look for a name.

use std::collections::BTreeSet;
use std::io;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

/// Messages of nf_tables: the subsystem's number and the question's.
const GET_TABLE: u16 = 10 << 8 | 1;
const GET_RULE: u16 = 10 << 8 | 7;
const REQUEST_ALL: u16 = 0x301;
const DONE: u16 = 3;
const ERROR: u16 = 2;
/// Length of a message's head, and of what follows it before attributes begin.
const HEAD: usize = 16;
const FAMILY: usize = 4;

/// Names of our tables: `hythe_` and four digits.
pub fn tables() -> Vec<String> {
    let messages = dump(GET_TABLE).unwrap_or_default();
    // The first attribute is the name: length, kind, text, zero.
    let name = |message: Vec<u8>| {
        let length = usize::from(u16::from_le_bytes(*message.first_chunk()?));
        let text = message.get(4..length)?.strip_suffix(&[0])?;
        String::from_utf8(text.to_vec()).ok()
    };
    messages.into_iter().filter_map(name).filter(|name| name.starts_with("hythe_")).collect()
}

/// What our links' names begin with, where rules compare with it or with a whole name: `hythe` and four digits.
pub fn named_in_rules() -> BTreeSet<String> {
    let is_digit = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut found = BTreeSet::new();
    for message in dump(GET_RULE).unwrap_or_default() {
        // A comparison holds the bytes and is filled up with zeros.
        for piece in message.split(|byte| *byte == 0) {
            let Some(at) = piece.windows(5).position(|window| window == b"hythe") else { continue };
            let name = &piece[at..];
            if name.len() >= 9 && name[5..].iter().all(is_digit) {
                found.insert(String::from_utf8_lossy(&name[..9]).into_owned());
            }
        }
    }
    found
}

/// Addresses out of 10.192.0.0/10, where our members are, that rules compare with.
pub fn addresses_in_rules() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for message in dump(GET_RULE).unwrap_or_default() {
        // A value of four bytes: length, kind, bytes.
        let values = message.windows(8).filter(|window| window[..4] == [8, 0, 1, 0]);
        let addresses = values.map(|window| &window[4..]).filter(|bytes| bytes[0] == 10 && bytes[1] >= 192);
        found.extend(addresses.map(|bytes| format!("10.{}.{}.{}", bytes[1], bytes[2], bytes[3])));
    }
    found
}

/// The attributes of every answer, over all families; nothing where the kernel has no nf_tables.
fn dump(question: u16) -> io::Result<Vec<Vec<u8>>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::NETFILTER))?;
    let length = u32::try_from(HEAD + FAMILY).unwrap_or_default();
    let mut request = length.to_le_bytes().to_vec();
    request.extend(question.to_le_bytes());
    request.extend(REQUEST_ALL.to_le_bytes());
    request.resize(HEAD + FAMILY, 0);
    sendto(&socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answers = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let (received, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = &buffer[..received];
        while let Some(head) = rest.first_chunk::<HEAD>() {
            let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
            match u16::from_le_bytes([head[4], head[5]]) {
                DONE | ERROR => return Ok(answers),
                _ => answers.extend(rest.get(HEAD + FAMILY..length).map(<[u8]>::to_vec)),
            }
            rest = rest.get(length.next_multiple_of(4).max(4)..).unwrap_or_default();
        }
    }
}
