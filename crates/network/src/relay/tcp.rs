//! Connections.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, accept_with, connect, socket_with, sockopt};

use super::flow::Flow;
use crate::poller::{Interest, Poller};

/// What came of accepting.
pub(super) enum Accepted {
    Connection(Connection),
    /// Somebody came and could not be served, or went again.
    Refused,
    /// Nobody is waiting.
    None,
    /// No descriptors or memory are left.
    Full,
}

/// A connection: the caller's end and the instance's.
#[derive(Debug)]
pub(super) struct Connection {
    ends: [OwnedFd; 2],
    /// From the caller, and from the instance.
    flows: [Flow; 2],
    watched: [Interest; 2],
    connecting: bool,
}

/// Takes a waiting caller. The socket towards the instance comes first: where none is left, the caller goes on waiting.
pub(super) fn accept(listener: &OwnedFd, target: SocketAddr) -> Accepted {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let made = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None);
    let taken = made.and_then(|instance| {
        let caller = accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        Ok((caller, instance))
    });
    let (caller, instance) = match taken {
        Ok(taken) => taken,
        Err(Errno::AGAIN) => return Accepted::None,
        Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => return Accepted::Full,
        // The caller's own trouble.
        Err(_) => return Accepted::Refused,
    };
    match connect(&instance, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => Accepted::Connection(Connection::new(caller, instance)),
        Err(_) => {
            reset(&caller);
            Accepted::Refused
        }
    }
}

/// What is closed now tells the peer that it was cut off, and not that all was said.
fn reset(socket: &OwnedFd) {
    // A socket that is gone needs none.
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

impl Connection {
    fn new(caller: OwnedFd, instance: OwnedFd) -> Self {
        for end in [&caller, &instance] {
            // Only slower without it.
            let _ = sockopt::set_tcp_nodelay(end, true);
        }
        Self { ends: [caller, instance], flows: Default::default(), watched: Default::default(), connecting: true }
    }

    /// Begins to watch.
    pub(super) fn watch(&mut self, poller: &mut Poller, id: u64) -> io::Result<()> {
        self.settle(poller, id)
    }

    /// Carries what can be carried; `false`: it is over.
    pub(super) fn carry(
        &mut self,
        end: usize,
        flags: EventFlags,
        poller: &mut Poller,
        id: u64,
        buffer: &mut [u8],
    ) -> io::Result<bool> {
        let carried =
            if flags.contains(EventFlags::ERR) { Err(Errno::CONNRESET.into()) } else { self.step(end, buffer) };
        if carried.and_then(|()| self.settle(poller, id)).is_err() {
            self.ends.iter().for_each(reset);
            return Ok(false);
        }
        Ok(!self.flows.iter().all(Flow::is_over))
    }

    fn step(&mut self, end: usize, buffer: &mut [u8]) -> io::Result<()> {
        if self.connecting {
            if end == 0 {
                return Ok(());
            }
            sockopt::socket_error(&self.ends[1])??;
            self.connecting = false;
        }
        let [caller, instance] = &self.ends;
        self.flows[0].carry(caller, instance, buffer)?;
        self.flows[1].carry(instance, caller, buffer)
    }

    fn settle(&mut self, poller: &mut Poller, id: u64) -> io::Result<()> {
        let wanted = if self.connecting {
            [Interest::default(), Interest { read: false, write: true }]
        } else {
            [0, 1].map(|end| Interest {
                read: self.flows[end].wants_to_read(),
                write: self.flows[1 - end].wants_to_write(),
            })
        };
        for (end, wanted) in wanted.into_iter().enumerate() {
            poller.change(&self.ends[end], (id << 1) | end as u64, self.watched[end], wanted)?;
            self.watched[end] = wanted;
        }
        Ok(())
    }
}
