//! Those who are connected to the socket.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

use crate::protocol;

/// Bytes that wait for one who does not read; who is further behind is let go, so that it holds up nobody.
const WAITS: usize = 8 << 20;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Has not asked yet.
    New,
    /// Gets output; may write to stdin.
    Attached {
        /// Whether it may.
        stdin: bool,
    },
    /// Waits for the end.
    Waiting,
    /// Has a process of its own.
    Executing,
    /// Has everything frozen.
    Freezing,
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    /// Number among the connections of a run.
    pub id: u64,
    /// What it is for.
    pub role: Role,
    /// Nothing more is said to it.
    pub done: bool,
    socket: UnixStream,
    buffer: Vec<u8>,
    /// Descriptors that came.
    pub(crate) descriptors: Vec<OwnedFd>,
    waiting: VecDeque<u8>,
    terminal: Option<OwnedFd>,
}

impl Client {
    /// Of an accepted socket.
    ///
    /// # Errors
    /// The socket is of no use.
    pub fn new(id: u64, socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            id,
            role: Role::New,
            done: false,
            socket,
            buffer: Vec::new(),
            descriptors: Vec::new(),
            waiting: VecDeque::new(),
            terminal: None,
        })
    }

    /// What to wait for.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Bytes that it has not read yet.
    pub fn behind(&self) -> usize {
        self.waiting.len()
    }

    /// Whether it has not read everything.
    pub fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Nothing more comes, and it has read everything.
    pub fn is_over(&self) -> bool {
        self.done && self.waiting.is_empty()
    }

    /// Reads what came; `false`: it has gone.
    pub fn read(&mut self) -> bool {
        let mut bytes = [0; 16 << 10];
        if self.role != Role::New {
            return match self.socket.read(&mut bytes) {
                Ok(0) => false,
                Ok(length) => {
                    self.buffer.extend_from_slice(&bytes[..length]);
                    true
                }
                Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
            };
        }
        let mut space = [const { std::mem::MaybeUninit::uninit() }; rustix::cmsg_space!(ScmRights(3))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(&self.socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC);
        let length = match received {
            Ok(received) => received.bytes,
            Err(Errno::AGAIN | Errno::INTR) => return true,
            Err(_) => return false,
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.descriptors.extend(fds);
            }
        }
        self.buffer.extend_from_slice(&bytes[..length]);
        length > 0
    }

    /// The next frame that has come whole; one that is too long ends the connection.
    pub fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        match protocol::take(&mut self.buffer) {
            Ok(frame) => frame,
            Err(protocol::TooLong) => {
                self.done = true;
                None
            }
        }
    }

    /// Sends a frame, now or when there is room.
    pub fn send(&mut self, frame: &[u8]) {
        if self.done {
            return;
        }
        self.waiting.extend(frame);
        self.flush();
        if self.waiting.len() > WAITS {
            self.waiting.clear();
            self.done = true;
        }
    }

    /// The next frame carries this descriptor.
    pub(crate) fn send_terminal(&mut self, terminal: OwnedFd, frame: &[u8]) {
        self.terminal = Some(terminal);
        self.send(frame);
    }

    /// Sends what waits, as far as there is room.
    pub fn flush(&mut self) {
        while !self.waiting.is_empty() {
            match self.write() {
                Ok(length) => {
                    self.waiting.drain(..length);
                    self.terminal = None;
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.waiting.clear();
                    self.done = true;
                }
            }
        }
    }

    /// Sends what waits, however long the other side takes within reason, and is done with it.
    pub fn finish(&mut self) {
        let patience = std::time::Duration::from_secs(5);
        if self.is_behind() && self.socket.set_nonblocking(false).is_ok() {
            let _ = self.socket.set_write_timeout(Some(patience));
            let rest: Vec<u8> = self.waiting.drain(..).collect();
            // One that still does not read loses the rest.
            let _ = std::io::Write::write_all(&mut self.socket, &rest);
        }
        self.done = true;
    }

    fn write(&mut self) -> rustix::io::Result<usize> {
        let (bytes, _) = self.waiting.as_slices();
        let mut space = [const { std::mem::MaybeUninit::uninit() }; rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let terminal = self.terminal.as_ref().map(AsFd::as_fd);
        let carried: Vec<BorrowedFd<'_>> = terminal.into_iter().collect();
        if !carried.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(&carried));
        }
        let bytes = [io::IoSlice::new(bytes)];
        sendmsg(&self.socket, &bytes, &mut ancillary, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    }
}
