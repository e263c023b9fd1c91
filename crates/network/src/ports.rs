//! Published ports: sockets that are held before anything is told to anybody.
//!
//! A port is ours by a socket that is bound to it, of the whole life of the instance, and by nothing else: a number that the kernel picks cannot be lost
//! to somebody between picking and using it, a port somebody has is found taken, and when the holder dies the port is free. The sockets are made by
//! whoever starts an instance and handed to the process that lives as long as it does, which serves them by a [`Relay`](super::relay::Relay).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hythe_runtime::{Error, ErrorKind, Result};
use hythe_spec::{Port, Protocol};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with, sockopt};

const OPERATION: &str = "reserve port";
/// How often another number is tried where the picked one is taken in the other family of addresses.
const PICKS: usize = 64;
const BACKLOG: i32 = 4096;

/// A published port and the sockets that hold it: one, or for a port on every address one per family of addresses.
#[derive(Debug)]
pub struct Reserved {
    /// The port; its host port is always told.
    pub port: Port,
    sockets: Vec<OwnedFd>,
}

impl Reserved {
    /// A reservation from what another process handed over.
    pub fn from_parts(port: Port, sockets: Vec<OwnedFd>) -> Self {
        Self { port, sockets }
    }

    /// The port and its sockets, to be handed over.
    pub fn into_parts(self) -> (Port, Vec<OwnedFd>) {
        (self.port, self.sockets)
    }

    /// The sockets: bound, not blocking, closed on exec, and for TCP listening.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }
}

/// Takes all ports, or none. Without a host address a port is held on every address, of IPv4 and (where the machine has it) IPv6, `::1` too.
/// The answers are in the order of `ports`.
///
/// # Errors
/// `Conflict`: somebody has it. `Invalid`: the host address is none of this machine. `Unauthorized`: a low number, without the privilege.
/// `Unsupported`: SCTP. `Exhausted`: no free number, or too many open files.
pub fn reserve(ports: &[Port]) -> Result<Vec<Reserved>> {
    let mut reserved: Vec<Option<Reserved>> = ports.iter().map(|_| None).collect();
    // Given numbers first, so that none of them is picked for another.
    for picked in [false, true] {
        for (slot, port) in reserved.iter_mut().zip(ports).filter(|(_, port)| port.host_port.is_none() == picked) {
            *slot = Some(take(port)?);
        }
    }
    Ok(reserved.into_iter().flatten().collect())
}

fn take(port: &Port) -> Result<Reserved> {
    if port.protocol == Protocol::Sctp {
        let message = format!("port `{port}` is unsupported because SCTP is not relayed");
        return Err(Error::new(ErrorKind::Unsupported, OPERATION, message).hint("publish tcp or udp"));
    }
    let attempts = if port.host_port.is_some() { 1 } else { PICKS };
    let mut taken = Errno::ADDRINUSE;
    for _ in 0..attempts {
        match hold(port) {
            Ok(reserved) => return Ok(reserved),
            Err(Errno::ADDRINUSE) => taken = Errno::ADDRINUSE,
            Err(other) => {
                taken = other;
                break;
            }
        }
    }
    Err(refused(port, taken))
}

fn hold(port: &Port) -> rustix::io::Result<Reserved> {
    let mut number = port.host_port.unwrap_or(0);
    let mut sockets = Vec::new();
    let addresses = match port.host_ip {
        Some(address) => vec![address],
        None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
    };
    for address in addresses {
        match bound(port.protocol, SocketAddr::new(address, number)) {
            Ok(socket) => {
                number = SocketAddr::try_from(getsockname(&socket)?)?.port();
                sockets.push(socket);
            }
            // One family of two may be absent.
            Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) if port.host_ip.is_none() && !sockets.is_empty() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Reserved { port: Port { host_port: Some(number), ..port.clone() }, sockets })
}

fn bound(protocol: Protocol, address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = if protocol == Protocol::Tcp { SocketType::STREAM } else { SocketType::DGRAM };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Tcp {
        // Connections that an earlier holder closed may linger; a listener is still in the way.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &address)?;
    if protocol == Protocol::Tcp {
        listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}

fn refused(port: &Port, why: Errno) -> Error {
    let host = port.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let (kind, text) = match why {
        Errno::ADDRINUSE if port.host_port.is_none() => {
            (ErrorKind::Exhausted, format!("no free host port is left for `{port}`"))
        }
        Errno::ADDRINUSE => (ErrorKind::Conflict, format!("host port of `{port}` is taken")),
        Errno::ADDRNOTAVAIL => (ErrorKind::Invalid, format!("`{host}` is no address of this host")),
        Errno::ACCESS | Errno::PERM => (ErrorKind::Unauthorized, format!("host port of `{port}` may not be used")),
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => (ErrorKind::Exhausted, format!("port `{port}`")),
        _ => (ErrorKind::Internal, format!("port `{port}` cannot be reserved")),
    };
    let error = Error::new(kind, OPERATION, text).source(std::io::Error::from(why));
    match kind {
        ErrorKind::Conflict => {
            error.hint("stop what listens there (`ss -lntup` shows it), or publish another host port")
        }
        ErrorKind::Unauthorized => {
            error.hint("publish a host port from 1024 on, or lower `net.ipv4.ip_unprivileged_port_start`")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host_ip: Option<IpAddr>, host_port: Option<u16>, protocol: Protocol) -> Port {
        Port { host_ip, host_port, container_port: 80, protocol }
    }

    const LOOPBACK: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

    #[test]
    fn picked_numbers_are_held_and_given_ones_come_first() {
        let first = reserve(&[port(LOOPBACK, None, Protocol::Tcp)]).expect("a port");
        let number = first[0].port.host_port;
        assert_eq!(reserve(&[port(LOOPBACK, number, Protocol::Tcp)]).expect_err("taken").kind(), ErrorKind::Conflict);
        let udp = reserve(&[port(LOOPBACK, number, Protocol::Udp)]).expect("another protocol");
        assert_eq!(udp[0].port.host_port, number);
        drop(first);
        reserve(&[port(LOOPBACK, number, Protocol::Tcp)]).expect("free again");
    }

    #[test]
    fn a_port_on_every_address_is_held_on_both_families() {
        let held = reserve(&[port(None, None, Protocol::Tcp)]).expect("a port");
        let number = held[0].port.host_port;
        for address in ["127.0.0.1", "::1"] {
            let same = port(Some(address.parse().expect("an address")), number, Protocol::Tcp);
            assert_eq!(reserve(&[same]).expect_err("taken").kind(), ErrorKind::Conflict, "{address}");
        }
    }

    #[test]
    fn all_or_none() {
        let held = reserve(&[port(LOOPBACK, None, Protocol::Tcp)]).expect("a port");
        let free = reserve(&[port(LOOPBACK, None, Protocol::Tcp)]).expect("a port").remove(0).port;
        reserve(&[free.clone(), held[0].port.clone()]).expect_err("the second is taken");
        reserve(&[free]).expect("the first was not kept");
    }

    #[test]
    fn refusals_have_their_kinds() {
        let strange = port(Some("192.0.2.77".parse().expect("an address")), Some(8080), Protocol::Tcp);
        assert_eq!(reserve(&[strange]).expect_err("no address of ours").kind(), ErrorKind::Invalid);
        assert_eq!(reserve(&[port(None, None, Protocol::Sctp)]).expect_err("sctp").kind(), ErrorKind::Unsupported);
    }
}
