//! Datagrams: each sender has a socket of its own towards the instance, for as long as something is said.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::cmsg_space;
use nix::libc::{in_addr, in_pktinfo, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrLike, SockaddrStorage, recvmsg,
    sendmsg, setsockopt, sockopt,
};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with};

use super::{Relay, Source, TURN};
use crate::poller::Interest;

/// An exchange in which nothing was said for so long is over.
const IDLE: Duration = Duration::from_secs(90);
/// The most exchanges at a time; then the one that was silent longest goes.
const EXCHANGES: usize = 1024;

/// Who says something to which port, and to which address of the machine: the answer must come from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    port: u64,
    sender: SocketAddr,
    to: Local,
}

/// An address of the machine, with the link where the address alone does not say which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Local {
    V4([u8; 4]),
    V6([u8; 16], u32),
}

/// The socket of a published port.
#[derive(Debug)]
pub(super) struct Datagrams {
    socket: OwnedFd,
    target: SocketAddr,
}

/// A sender's way to the instance.
#[derive(Debug)]
pub(super) struct Exchange {
    key: Key,
    socket: OwnedFd,
    last: Instant,
}

impl Datagrams {
    pub(super) fn new(socket: OwnedFd, target: SocketAddr) -> io::Result<Self> {
        let v4 = rustix::net::sockopt::socket_domain(&socket)? == AddressFamily::INET;
        if v4 {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
        Ok(Self { socket, target })
    }

    fn receive(&self, port: u64, buffer: &mut [u8]) -> io::Result<Option<(usize, Key)>> {
        let mut control = cmsg_space!(in_pktinfo, in6_pktinfo);
        let mut slices = [IoSliceMut::new(buffer)];
        let message =
            recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty())?;
        let to = message.cmsgs()?.find_map(local);
        let sender = message.address.as_ref().and_then(sender);
        Ok(to.zip(sender).map(|(to, sender)| (message.bytes, Key { port, sender, to })))
    }

    fn send(&self, bytes: &[u8], key: &Key) -> io::Result<()> {
        let slices = [IoSlice::new(bytes)];
        let fd = self.socket.as_raw_fd();
        match (key.to, key.sender) {
            (Local::V4(from), SocketAddr::V4(to)) => {
                let from = in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: in_addr { s_addr: u32::from_ne_bytes(from) },
                    ipi_addr: in_addr { s_addr: 0 },
                };
                sendmsg(
                    fd,
                    &slices,
                    &[ControlMessage::Ipv4PacketInfo(&from)],
                    MsgFlags::empty(),
                    Some(&SockaddrIn::from(to)),
                )?;
            }
            (Local::V6(from, link), SocketAddr::V6(to)) => {
                let from = in6_pktinfo { ipi6_addr: nix::libc::in6_addr { s6_addr: from }, ipi6_ifindex: link };
                sendmsg(
                    fd,
                    &slices,
                    &[ControlMessage::Ipv6PacketInfo(&from)],
                    MsgFlags::empty(),
                    Some(&SockaddrIn6::from(to)),
                )?;
            }
            _ => {}
        }
        Ok(())
    }
}

impl AsFd for Datagrams {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Exchange {
    fn new(key: Key, target: SocketAddr) -> io::Result<Self> {
        let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
        connect(&socket, &target)?;
        Ok(Self { key, socket, last: Instant::now() })
    }

    pub(super) fn is_idle(&self) -> bool {
        self.last.elapsed() >= IDLE
    }
}

impl Relay {
    /// Carries datagrams to the instance. What cannot be carried is lost, as datagrams may be.
    pub(super) fn receive(&mut self, port: u64) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..TURN {
            let Some(Source::Datagrams(datagrams)) = self.sources.get(&port) else { break };
            let target = datagrams.target;
            match datagrams.receive(port, &mut buffer) {
                Ok(Some((length, key))) => self.pass_on(key, target, &buffer[..length]),
                Ok(None) => {}
                Err(_) => break,
            }
        }
        self.buffer = buffer;
        if self.exchanges.is_empty() { Ok(()) } else { self.poller.tick_on() }
    }

    /// Carries what the instance says in an exchange.
    pub(super) fn answer(&mut self, id: u64) {
        for _ in 0..TURN {
            let Some(Source::Exchange(exchange)) = self.sources.get_mut(&id) else { return };
            // Refused by the instance counts as said, since it clears the socket's error.
            let Ok((_, length)) = recv(&exchange.socket, &mut self.buffer[..], RecvFlags::empty()) else { return };
            exchange.last = Instant::now();
            let key = exchange.key;
            if let Some(Source::Datagrams(datagrams)) = self.sources.get(&key.port) {
                // Lost, as datagrams may be.
                let _ = datagrams.send(&self.buffer[..length], &key);
            }
        }
    }

    fn pass_on(&mut self, key: Key, target: SocketAddr, bytes: &[u8]) {
        let Some(id) = self.exchanges.get(&key).copied().or_else(|| self.begin(key, target)) else { return };
        if let Some(Source::Exchange(exchange)) = self.sources.get_mut(&id) {
            exchange.last = Instant::now();
            // The first try may meet the error that an earlier datagram caused.
            let _ = send(&exchange.socket, bytes, SendFlags::NOSIGNAL)
                .or_else(|_| send(&exchange.socket, bytes, SendFlags::NOSIGNAL));
        }
    }

    fn begin(&mut self, key: Key, target: SocketAddr) -> Option<u64> {
        if self.exchanges.len() >= EXCHANGES {
            self.end_oldest();
        }
        let exchange = Exchange::new(key, target).ok()?;
        let id = self.new_id();
        self.poller.watch(&exchange.socket, id << 1, Interest::READ).ok()?;
        self.sources.insert(id, Source::Exchange(exchange));
        self.exchanges.insert(key, id);
        Some(id)
    }

    fn end_oldest(&mut self) {
        let last = |sources: &HashMap<u64, Source>, id: &u64| match sources.get(id) {
            Some(Source::Exchange(exchange)) => Some(exchange.last),
            _ => None,
        };
        let oldest = self.exchanges.iter().min_by_key(|(_, id)| last(&self.sources, id)).map(|(key, id)| (*key, *id));
        if let Some((key, id)) = oldest {
            self.exchanges.remove(&key);
            self.sources.remove(&id);
        }
    }
}

fn local(message: ControlMessageOwned) -> Option<Local> {
    match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(Local::V4(info.ipi_spec_dst.s_addr.to_ne_bytes())),
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let address = info.ipi6_addr.s6_addr;
            let on_a_link = address[0] == 0xfe && address[1] & 0xc0 == 0x80;
            Some(Local::V6(address, if on_a_link { info.ipi6_ifindex } else { 0 }))
        }
        _ => None,
    }
}

fn sender(address: &SockaddrStorage) -> Option<SocketAddr> {
    address.family()?;
    let v4 = address.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
}
