//! What makes published ports answer: connections and datagrams are carried between host sockets and an instance.
//!
//! A relay is one event loop without threads, for whichever process lives as long as the instance. It touches no rule and needs no privilege: what
//! reaches the socket reaches the instance, from loopback, the host's addresses, other machines and the instance's neighbours alike, whatever
//! other tables say of forwarding. What a port on loopback does not answer, nothing else answers for it.
//!
//! The instance sees the bridge's address as the sender.

mod flow;
mod tcp;
mod udp;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hythe_spec::{Port, Protocol};
use rustix::event::epoll::EventFlags;

use self::tcp::{Accepted, Connection};
use self::udp::{Datagrams, Exchange};
use super::poller::{self, Interest, Poller};
use super::ports::Reserved;

/// The most that is carried in one go.
const CHUNK: usize = 64 * 1024;
/// The most connections or datagrams taken from one socket before the others have their turn.
const TURN: usize = 64;
/// How often idle exchanges and waiting listeners are looked at.
const TICK_SECONDS: i64 = 5;

/// Serves reserved ports.
#[derive(Debug)]
pub struct Relay {
    poller: Poller,
    ports: Vec<Port>,
    sources: HashMap<u64, Source>,
    /// Which exchange a datagram's sender has.
    exchanges: HashMap<udp::Key, u64>,
    /// Listeners that wait until there are descriptors again.
    waiting: Vec<u64>,
    next: u64,
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum Source {
    Listener { socket: OwnedFd, target: SocketAddr },
    Connection(Connection),
    Datagrams(Datagrams),
    Exchange(Exchange),
}

impl Relay {
    /// Serves ports for the instance at an address. Nothing is carried before the first [`Relay::turn`]; until then connections wait.
    ///
    /// # Errors
    /// Too many open files, or too little memory.
    pub fn new(reserved: Vec<Reserved>, instance: IpAddr) -> io::Result<Self> {
        let mut relay = Self {
            poller: Poller::new(TICK_SECONDS)?,
            ports: Vec::new(),
            sources: HashMap::new(),
            exchanges: HashMap::new(),
            waiting: Vec::new(),
            next: 0,
            buffer: vec![0; CHUNK],
        };
        for reservation in reserved {
            let (port, sockets) = reservation.into_parts();
            let target = SocketAddr::new(instance, port.container_port);
            for socket in sockets {
                relay.serve_socket(port.protocol, socket, target)?;
            }
            relay.ports.push(port);
        }
        Ok(relay)
    }

    /// The ports served.
    pub fn ports(&self) -> &[Port] {
        &self.ports
    }

    /// Carries what is there now and returns without waiting. Call it whenever the relay's descriptor is readable; in between nothing is needed.
    ///
    /// # Errors
    /// The kernel's polling failed. Trouble of a single connection ends that connection and is no error.
    pub fn turn(&mut self) -> io::Result<()> {
        for (token, flags) in self.poller.ready(false)? {
            self.handle(token, flags)?;
        }
        Ok(())
    }

    /// Carries until the process ends.
    ///
    /// # Errors
    /// As [`Relay::turn`].
    pub fn serve(mut self) -> io::Result<std::convert::Infallible> {
        loop {
            for (token, flags) in self.poller.ready(true)? {
                self.handle(token, flags)?;
            }
        }
    }

    fn serve_socket(&mut self, protocol: Protocol, socket: OwnedFd, target: SocketAddr) -> io::Result<()> {
        let source = match protocol {
            Protocol::Udp => Source::Datagrams(Datagrams::new(socket, target)?),
            Protocol::Tcp | Protocol::Sctp => Source::Listener { socket, target },
        };
        let id = self.new_id();
        match &source {
            Source::Datagrams(datagrams) => self.poller.watch(datagrams, id << 1, Interest::READ)?,
            Source::Listener { socket, .. } => self.poller.watch(socket, id << 1, Interest::READ)?,
            Source::Connection(_) | Source::Exchange(_) => {}
        }
        self.sources.insert(id, source);
        Ok(())
    }

    fn new_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn handle(&mut self, token: u64, flags: EventFlags) -> io::Result<()> {
        if token == poller::TICK {
            return self.tick();
        }
        let id = token >> 1;
        match self.sources.get_mut(&id) {
            Some(Source::Listener { .. }) => self.accept(id),
            Some(Source::Connection(connection)) => {
                let end = usize::from(token & 1 == 1);
                if !connection.carry(end, flags, &mut self.poller, id, &mut self.buffer)? {
                    self.sources.remove(&id);
                    self.resume()?;
                }
                Ok(())
            }
            Some(Source::Datagrams(_)) => self.receive(id),
            Some(Source::Exchange(_)) => {
                self.answer(id);
                Ok(())
            }
            // An event of the same round ended it.
            None => Ok(()),
        }
    }

    fn accept(&mut self, listener: u64) -> io::Result<()> {
        for _ in 0..TURN {
            let Some(Source::Listener { socket, target }) = self.sources.get(&listener) else { return Ok(()) };
            match tcp::accept(socket, *target) {
                Accepted::Connection(mut connection) => {
                    let id = self.new_id();
                    if connection.watch(&mut self.poller, id).is_ok() {
                        self.sources.insert(id, Source::Connection(connection));
                    }
                }
                Accepted::Refused => {}
                Accepted::None => return Ok(()),
                Accepted::Full => {
                    self.poller.forget(socket)?;
                    self.waiting.push(listener);
                    return self.poller.tick_on();
                }
            }
        }
        Ok(())
    }

    /// Lets listeners accept again.
    fn resume(&mut self) -> io::Result<()> {
        for id in std::mem::take(&mut self.waiting) {
            if let Some(Source::Listener { socket, .. }) = self.sources.get(&id) {
                self.poller.watch(socket, id << 1, Interest::READ)?;
            }
        }
        Ok(())
    }

    fn tick(&mut self) -> io::Result<()> {
        self.poller.tick_seen();
        self.resume()?;
        self.exchanges.retain(|_, id| match self.sources.get(id) {
            Some(Source::Exchange(exchange)) if exchange.is_idle() => {
                self.sources.remove(id);
                false
            }
            found => found.is_some(),
        });
        if self.exchanges.is_empty() && self.waiting.is_empty() { self.poller.tick_off() } else { Ok(()) }
    }
}

impl AsFd for Relay {
    /// A descriptor that is readable when there is something to carry.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}
