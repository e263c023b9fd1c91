//! A name server for one instance, as Docker has one: at 127.0.0.11 inside the instance's network namespace.
//!
//! It is for programs that ask a name server themselves and never read `/etc/hosts`, and for those that must see a replaced peer at once. It answers
//! from the members of the instance's networks, `NAME` and `NAME.NETWORK`, and forwards everything else to the servers behind, unless all networks are
//! internal. It is one event loop without threads, for the process that lives as long as the instance, like the relay of published ports.
//!
//! Port 53 stays free for the instance: a rule of nf_tables in its namespace redirects what goes to 127.0.0.11:53 to ports that the kernel chose.

mod message;
mod names;
mod stream;
mod upstream;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use hythe_runtime::Result;

use self::message::{Answer, Question};
use self::stream::Messages;
pub use self::upstream::Upstream;
use self::upstream::{Asker, Forward};
use super::Networks;
use super::error::kernel;
use super::firewall::redirect_names;
use super::links::open_namespace;
use super::namespace::within;
use super::poller::{self, Interest, Poller};

/// Where instances find it.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// Seconds between two looks at what takes too long.
const TICK_SECONDS: i64 = 1;
/// Queries that may be on their way at a time; then the oldest is answered with a failure.
const FORWARDS: usize = 256;
/// Connections that may be open at a time; more are closed.
const CONNECTIONS: usize = 64;
/// Ticks after which a silent connection is closed.
const IDLE: u8 = 10;
/// The most datagrams or connections taken before others have their turn.
const TURN: usize = 64;

const DATAGRAMS: u64 = 1;
const LISTENER: u64 = 2;
/// The first number of what comes and goes.
const FIRST: u64 = 3;

/// Answers an instance's questions.
#[derive(Debug)]
pub struct NameServer {
    networks: Networks,
    instance: String,
    upstream: Upstream,
    poller: Poller,
    datagrams: UdpSocket,
    listener: TcpListener,
    connections: HashMap<u64, Connection>,
    forwards: HashMap<u64, (Forward, Interest)>,
    next: u64,
}

#[derive(Debug)]
struct Connection {
    messages: Messages,
    interest: Interest,
    silent: u8,
    /// The other side says nothing more; what it asked is still answered.
    ended: bool,
}

impl NameServer {
    /// Listens in a network namespace and redirects its queries here. Nothing is answered before the first [`NameServer::turn`].
    ///
    /// # Errors
    /// `NotFound`: the namespace. `Unsupported`: the kernel cannot redirect. Then nothing was changed.
    pub fn start(networks: Networks, instance: &str, namespace: &Path, upstream: Upstream) -> Result<Self> {
        let namespace = open_namespace(namespace)?;
        let made = within(namespace.as_fd(), || {
            let datagrams = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            datagrams.set_nonblocking(true)?;
            listener.set_nonblocking(true)?;
            redirect_names(ADDRESS, datagrams.local_addr()?.port(), listener.local_addr()?.port())?;
            Ok((datagrams, listener))
        });
        let watched = made.and_then(|(datagrams, listener)| {
            let poller = Poller::new(TICK_SECONDS)?;
            poller.watch(&datagrams, DATAGRAMS, Interest::READ)?;
            poller.watch(&listener, LISTENER, Interest::READ)?;
            Ok((datagrams, listener, poller))
        });
        let (datagrams, listener, poller) =
            watched.map_err(|error| kernel("attach", format!("the name server of `{instance}`"), error))?;
        Ok(Self {
            networks,
            instance: instance.to_owned(),
            upstream,
            poller,
            datagrams,
            listener,
            connections: HashMap::new(),
            forwards: HashMap::new(),
            next: FIRST,
        })
    }

    /// Answers what is there now and returns without waiting. Call it whenever its descriptor is readable.
    ///
    /// # Errors
    /// The kernel's polling failed. Trouble of one query or connection ends that one and is no error.
    pub fn turn(&mut self) -> io::Result<()> {
        for (token, _) in self.poller.ready(false)? {
            match token {
                poller::TICK => self.tick()?,
                DATAGRAMS => self.receive()?,
                LISTENER => self.accept()?,
                id if self.connections.contains_key(&id) => self.serve(id)?,
                id => self.hear(id)?,
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4 << 10];
        for _ in 0..TURN {
            // An error is that of an earlier answer nobody took, and is cleared by being read.
            match self.datagrams.recv_from(&mut buffer) {
                Ok((length, from)) => self.ask(Asker::Datagram(from), &buffer[..length])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn ask(&mut self, asker: Asker, query: &[u8]) -> io::Result<()> {
        let Some(question) = Question::of(query) else {
            return self.answer(asker, query, &Answer::Malformed);
        };
        if let Some(answer) = self.networks.resolve(&self.instance, &question) {
            return self.answer(asker, query, &answer);
        }
        let servers = if self.networks.leads_out(&self.instance) { self.upstream.servers() } else { Vec::new() };
        if servers.is_empty() {
            return self.answer(asker, query, &Answer::NoSuchName);
        }
        match Forward::begin(asker, query, servers) {
            Some(forward) => self.forward(forward),
            None => self.answer(asker, query, &Answer::Failure),
        }
    }

    fn forward(&mut self, forward: Forward) -> io::Result<()> {
        if self.forwards.len() >= FORWARDS
            && let Some(oldest) = self.forwards.keys().min().copied()
        {
            self.give_up(oldest)?;
        }
        let id = self.new_id();
        let interest = Interest { read: true, write: forward.wants_to_write() };
        self.poller.watch(&forward, id, interest)?;
        self.forwards.insert(id, (forward, interest));
        self.poller.tick_on()
    }

    /// Something came for a query that was forwarded.
    fn hear(&mut self, id: u64) -> io::Result<()> {
        // An event of the same round ended it.
        let Some((forward, interest)) = self.forwards.get_mut(&id) else { return Ok(()) };
        match forward.receive() {
            Ok(Some(reply)) => {
                let asker = forward.asker;
                self.forwards.remove(&id);
                self.send(asker, &reply)
            }
            Ok(None) => {
                let wanted = Interest { read: true, write: forward.wants_to_write() };
                self.poller.change(&*forward, id, std::mem::replace(interest, wanted), wanted)
            }
            Err(_) => self.try_next(id),
        }
    }

    fn try_next(&mut self, id: u64) -> io::Result<()> {
        let Some((mut forward, _)) = self.forwards.remove(&id) else { return Ok(()) };
        if forward.next_server() { self.forward(forward) } else { self.fail(&forward) }
    }

    fn give_up(&mut self, id: u64) -> io::Result<()> {
        match self.forwards.remove(&id) {
            Some((forward, _)) => self.fail(&forward),
            None => Ok(()),
        }
    }

    fn fail(&mut self, forward: &Forward) -> io::Result<()> {
        self.answer(forward.asker, &forward.query, &Answer::Failure)
    }

    fn answer(&mut self, asker: Asker, query: &[u8], answer: &Answer) -> io::Result<()> {
        match message::reply(query, answer, matches!(asker, Asker::Datagram(_))) {
            Some(reply) => self.send(asker, &reply),
            None => Ok(()),
        }
    }

    fn send(&mut self, asker: Asker, reply: &[u8]) -> io::Result<()> {
        match asker {
            Asker::Datagram(to) => {
                // Lost, as datagrams may be.
                let _ = self.datagrams.send_to(reply, to);
                Ok(())
            }
            Asker::Connection(id) => {
                let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
                connection.messages.push(reply);
                match connection.messages.write() {
                    Ok(()) => self.watch_connection(id),
                    Err(_) => self.close(id),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..TURN {
            let Ok((stream, _)) = self.listener.accept() else { break };
            if self.connections.len() >= CONNECTIONS || stream.set_nonblocking(true).is_err() {
                continue;
            }
            let (id, messages) = (self.new_id(), Messages::new(stream));
            self.poller.watch(&messages, id, Interest::READ)?;
            self.connections.insert(id, Connection { messages, interest: Interest::READ, silent: 0, ended: false });
            self.poller.tick_on()?;
        }
        Ok(())
    }

    /// Something came on a connection.
    fn serve(&mut self, id: u64) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        connection.silent = 0;
        let Ok(open) = connection.messages.transfer() else { return self.close(id) };
        connection.ended |= !open;
        while let Some(query) = self.connections.get_mut(&id).and_then(|one| one.messages.next_message()) {
            self.ask(Asker::Connection(id), &query)?;
        }
        self.watch_connection(id)
    }

    fn watch_connection(&mut self, id: u64) -> io::Result<()> {
        let waits = self.forwards.values().any(|(forward, _)| forward.asker == Asker::Connection(id));
        let Some(Connection { messages, interest, ended, .. }) = self.connections.get_mut(&id) else { return Ok(()) };
        let wanted = Interest { read: !*ended && !messages.is_behind(), write: messages.has_output() };
        if *ended && !waits && !wanted.write {
            return self.close(id);
        }
        self.poller.change(&*messages, id, std::mem::replace(interest, wanted), wanted)
    }

    fn close(&mut self, id: u64) -> io::Result<()> {
        self.connections.remove(&id);
        Ok(())
    }

    fn tick(&mut self) -> io::Result<()> {
        self.poller.tick_seen();
        for connection in self.connections.values_mut() {
            connection.silent += 1;
        }
        self.connections.retain(|_, connection| connection.silent < IDLE);
        let overdue: Vec<u64> =
            self.forwards.iter_mut().filter_map(|(id, (forward, _))| forward.is_overdue().then_some(*id)).collect();
        for id in overdue {
            self.try_next(id)?;
        }
        if self.connections.is_empty() && self.forwards.is_empty() { self.poller.tick_off() } else { Ok(()) }
    }

    fn new_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl AsFd for NameServer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}
