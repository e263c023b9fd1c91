//! Talking to the kernel over netlink: one blocking request at a time, in the network namespace the session was opened in.

pub(super) mod address;
pub(super) mod link;

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};

/// One socket to the kernel.
#[derive(Debug)]
pub(super) struct Session {
    socket: Socket,
    sequence: u32,
}

impl Session {
    pub(super) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_cap_ack(true)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// A session for links, addresses and routes.
    pub(super) fn route() -> io::Result<Self> {
        Self::open(NETLINK_ROUTE)
    }

    /// Room for a message of that many bytes; for the machine's root beyond what the system lets anybody have.
    pub(super) fn make_room(&self, bytes: usize) -> io::Result<()> {
        match setsockopt(&self.socket, sockopt::SndBufForce, &bytes) {
            Err(nix::Error::EPERM) => Ok(setsockopt(&self.socket, sockopt::SndBuf, &bytes)?),
            made => Ok(made?),
        }
    }

    /// The next message's bytes.
    pub(super) fn encode<T: NetlinkSerializable>(
        &mut self,
        message: impl Into<NetlinkPayload<T>>,
        flags: u16,
    ) -> Vec<u8> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, message.into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    /// Sends bytes that ask for an acknowledgement, and waits for it or for the first error.
    pub(super) fn confirm<T: NetlinkDeserializable>(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send(bytes)?;
        self.receive::<T>(|_| true).map(drop)
    }

    /// Does one thing.
    pub(super) fn act(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let bytes = self.encode(message, NLM_F_ACK | flags);
        self.confirm::<RouteNetlinkMessage>(&bytes)
    }

    /// Asks for one thing, or with `NLM_F_DUMP` for all of them.
    pub(super) fn ask<T>(&mut self, message: T, flags: u16) -> io::Result<Vec<T>>
    where
        T: NetlinkSerializable + NetlinkDeserializable + Into<NetlinkPayload<T>>,
    {
        let bytes = self.encode(message, flags);
        self.send(&bytes)?;
        self.receive(move |several| !several)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.socket.send(bytes, 0)?;
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Reads until an acknowledgement, an error, the end of a list, or an answer that `last` says is the only one.
    fn receive<T: NetlinkDeserializable>(&self, last: impl Fn(bool) -> bool) -> io::Result<Vec<T>> {
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = &datagram[..];
            while !rest.is_empty() {
                let message = NetlinkMessage::<T>::deserialize(rest).map_err(io::Error::other)?;
                // Messages are padded to four bytes.
                let length = (message.header.length as usize).next_multiple_of(4).max(4);
                rest = rest.get(length..).unwrap_or_default();
                let several = message.header.flags & netlink_packet_core::NLM_F_MULTIPART != 0;
                match message.payload {
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::InnerMessage(answer) => {
                        answers.push(answer);
                        if last(several) {
                            return Ok(answers);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}
