//! Asking the servers behind: one socket for each query, so that a reply belongs to exactly one.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use super::message;
use super::stream::Messages;
use crate::resolver::Resolver;

/// Ticks without an answer after which the next server is asked.
const PATIENCE: u8 = 2;
/// How often a query is sent at most, over all servers.
const TRIES: usize = 4;
const PORT: u16 = 53;
/// Longest message over UDP.
const DATAGRAM: usize = 64 << 10;

/// The servers that answer what is not known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// The host's own, as its `resolv.conf` says when a query comes; also those on its loopback.
    Host,
    /// These.
    Servers(Vec<IpAddr>),
}

impl Upstream {
    pub(super) fn servers(&self) -> Vec<IpAddr> {
        match self {
            Self::Host => Resolver::all_of(Path::new("/etc/resolv.conf")).nameservers,
            Self::Servers(servers) => servers.clone(),
        }
    }
}

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    Datagram(SocketAddr),
    /// A connection, by its number.
    Connection(u64),
}

#[derive(Debug)]
enum Socket {
    Datagram(UdpSocket),
    Connection(Messages),
}

/// A query on its way.
#[derive(Debug)]
pub(super) struct Forward {
    pub(super) asker: Asker,
    /// As it was asked.
    pub(super) query: Vec<u8>,
    /// As it is asked, under an id of our own.
    sent: Vec<u8>,
    servers: Vec<IpAddr>,
    tries: usize,
    waited: u8,
    socket: Socket,
}

impl Forward {
    /// Asks the first server. `None`: there is none that could be asked.
    pub(super) fn begin(asker: Asker, query: &[u8], servers: Vec<IpAddr>) -> Option<Self> {
        let mut sent = query.to_vec();
        sent.get_mut(..2)?.copy_from_slice(&random_id()?);
        let socket = servers.iter().find_map(|server| ask(asker, *server, &sent).ok())?;
        Some(Self { asker, query: query.to_vec(), sent, servers, tries: 1, waited: 0, socket })
    }

    /// The reply for the asker, if it has come.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(super) fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        let message = match &mut self.socket {
            Socket::Datagram(socket) => {
                let mut buffer = vec![0; DATAGRAM];
                match socket.recv(&mut buffer) {
                    Ok(length) => Some(buffer[..length].to_vec()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                    Err(error) => return Err(error),
                }
            }
            Socket::Connection(stream) => {
                let open = stream.transfer()?;
                let message = stream.next_message();
                if message.is_none() && !open {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                message
            }
        };
        Ok(message.filter(|message| message::is_reply(&self.sent, message)).map(|mut message| {
            message[..2].copy_from_slice(&self.query[..2]);
            message
        }))
    }

    /// One tick passed; whether to go on to the next server.
    pub(super) fn is_overdue(&mut self) -> bool {
        self.waited += 1;
        self.waited >= PATIENCE
    }

    /// Asks the next server. `false`: nobody is left.
    pub(super) fn next_server(&mut self) -> bool {
        while self.tries < TRIES.max(self.servers.len()) {
            let server = self.servers[self.tries % self.servers.len()];
            self.tries += 1;
            if let Ok(socket) = ask(self.asker, server, &self.sent) {
                (self.socket, self.waited) = (socket, 0);
                return true;
            }
        }
        false
    }

    /// Whether it has something to write.
    pub(super) fn wants_to_write(&self) -> bool {
        match &self.socket {
            Socket::Datagram(_) => false,
            Socket::Connection(stream) => stream.has_output(),
        }
    }
}

impl AsFd for Forward {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Datagram(socket) => socket.as_fd(),
            Socket::Connection(stream) => stream.as_fd(),
        }
    }
}

fn ask(asker: Asker, server: IpAddr, query: &[u8]) -> io::Result<Socket> {
    let server = SocketAddr::new(server, PORT);
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = if matches!(asker, Asker::Datagram(_)) { SocketType::DGRAM } else { SocketType::STREAM };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    match connect(&socket, &server) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    if let Asker::Datagram(_) = asker {
        let socket = UdpSocket::from(socket);
        socket.send(query)?;
        return Ok(Socket::Datagram(socket));
    }
    let mut stream = Messages::new(TcpStream::from(socket));
    stream.push(query);
    Ok(Socket::Connection(stream))
}

fn random_id() -> Option<[u8; 2]> {
    let mut id = [0; 2];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty()).ok().filter(|length| *length == 2)?;
    Some(id)
}
