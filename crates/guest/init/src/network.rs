//! Static addresses and routes, by rtnetlink.

use std::fs;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

use crate::context;
use crate::protocol::Interface;

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
/// A request that is acknowledged and creates what is missing.
const FLAGS: u16 = 0x1 | 0x4 | 0x400;
const ERROR: u16 = 2;
const UP: u32 = 1;
const LOOPBACK: u32 = 1;
/// An address of IPv6 that is used at once.
const WITHOUT_DETECTION: u8 = 2;

/// Brings the loopback and all interfaces of the configuration up.
pub(crate) fn set_up(interfaces: &[Interface]) -> Result<(), String> {
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None).map_err(context("network"))?;
    let netlink = Netlink { socket };
    netlink.link_up(LOOPBACK, None).map_err(context("the loopback"))?;
    let links = links();
    let mut used = Vec::new();
    for (number, interface) in interfaces.iter().enumerate() {
        let wanted = |link: &&Link| match &interface.mac {
            Some(mac) => link.mac.eq_ignore_ascii_case(mac),
            None => !used.contains(&link.index),
        };
        let shown = interface.mac.clone().unwrap_or_else(|| format!("number {}", number + 1));
        let Some(link) = links.iter().find(wanted) else {
            return Err(format!("the virtual machine has no network interface {shown}"));
        };
        used.push(link.index);
        netlink.configure(link.index, interface).map_err(context(format!("network interface {shown}")))?;
    }
    Ok(())
}

struct Link {
    index: u32,
    mac: String,
}

/// All interfaces but the loopback, in the kernel's order.
fn links() -> Vec<Link> {
    let mut links = Vec::new();
    for entry in fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
        let read = |name| fs::read_to_string(entry.path().join(name)).unwrap_or_default().trim_end().to_owned();
        if let Ok(index) = read("ifindex").parse()
            && index != LOOPBACK
        {
            links.push(Link { index, mac: read("address") });
        }
    }
    links.sort_by_key(|link| link.index);
    links
}

struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    fn configure(&self, index: u32, interface: &Interface) -> Result<(), String> {
        self.link_up(index, interface.mtu)?;
        for text in &interface.addresses {
            let (address, length) = text.split_once('/').ok_or_else(|| format!("`{text}` has no prefix length"))?;
            let address = address.parse().map_err(context(format!("`{text}`")))?;
            let length = length.parse().map_err(context(format!("`{text}`")))?;
            self.address(index, address, length).map_err(context(format!("address `{text}`")))?;
        }
        for gateway in &interface.gateways {
            self.default_route(index, *gateway).map_err(context(format!("gateway `{gateway}`")))?;
        }
        Ok(())
    }

    fn link_up(&self, index: u32, mtu: Option<u32>) -> Result<(), String> {
        let mut body = vec![0; 4];
        for word in [index, UP, UP] {
            body.extend(word.to_ne_bytes());
        }
        if let Some(mtu) = mtu {
            attribute(&mut body, 4, &mtu.to_ne_bytes());
        }
        self.request(NEW_LINK, &body)
    }

    fn address(&self, index: u32, address: IpAddr, length: u8) -> Result<(), String> {
        let flags = if address.is_ipv6() { WITHOUT_DETECTION } else { 0 };
        let mut body = vec![family(address), length, flags, 0];
        body.extend(index.to_ne_bytes());
        attribute(&mut body, 2, &bytes(address));
        attribute(&mut body, 1, &bytes(address));
        self.request(NEW_ADDRESS, &body)
    }

    fn default_route(&self, index: u32, gateway: IpAddr) -> Result<(), String> {
        // The main table, a route of the boot, of any scope, to one host at a time.
        let mut body = vec![family(gateway), 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        attribute(&mut body, 5, &bytes(gateway));
        attribute(&mut body, 4, &index.to_ne_bytes());
        self.request(NEW_ROUTE, &body)
    }

    fn request(&self, kind: u16, body: &[u8]) -> Result<(), String> {
        let mut message = Vec::new();
        message.extend(u32::try_from(16 + body.len()).unwrap_or(0).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(FLAGS.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, &message, SendFlags::empty(), &kernel).map_err(|error| error.to_string())?;
        let mut answer = [0_u8; 4096];
        let (length, _) = recv(&self.socket, &mut answer[..], RecvFlags::empty()).map_err(|error| error.to_string())?;
        if length < 20 || u16::from_ne_bytes([answer[4], answer[5]]) != ERROR {
            return Err("the kernel sent no acknowledgement".to_owned());
        }
        match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
            0 => Ok(()),
            code => Err(rustix::io::Errno::from_raw_os_error(-code).to_string()),
        }
    }
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(u16::try_from(4 + value.len()).unwrap_or(0).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { 2 } else { 10 }
}

fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
