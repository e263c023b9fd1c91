//! Messages over TCP: each is preceded by its length (RFC 1035, 4.2.2).

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

/// What is read at once.
const PIECE: usize = 16 << 10;
/// What may wait to be written before no more is read.
const BACKLOG: usize = 128 << 10;
/// What may be read before it is taken as messages: two of the longest.
const UNREAD: usize = 2 * ((64 << 10) + 2);

/// A non-blocking connection.
#[derive(Debug)]
pub(super) struct Messages {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Messages {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, input: Vec::new(), output: Vec::new() }
    }

    /// Puts a message after those that wait to be written; one that is too long is left out.
    pub(super) fn push(&mut self, message: &[u8]) {
        if let Ok(length) = u16::try_from(message.len()) {
            self.output.extend(length.to_be_bytes());
            self.output.extend(message);
        }
    }

    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Whether the other side has to read before more is taken from it.
    pub(super) fn is_behind(&self) -> bool {
        self.output.len() > BACKLOG
    }

    /// Reads and writes what can be, without waiting. `false`: the other side says nothing more.
    pub(super) fn transfer(&mut self) -> io::Result<bool> {
        self.write()?;
        let mut piece = [0; PIECE];
        while !self.is_behind() && self.input.len() < UNREAD {
            match self.stream.read(&mut piece) {
                Ok(0) => return Ok(false),
                Ok(length) => self.input.extend(&piece[..length]),
                Err(error) if is_not_yet(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Writes what can be written.
    pub(super) fn write(&mut self) -> io::Result<()> {
        while self.has_output() {
            match self.stream.write(&self.output) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => drop(self.output.drain(..length)),
                Err(error) if is_not_yet(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next whole message that was read.
    pub(super) fn next_message(&mut self) -> Option<Vec<u8>> {
        let length = usize::from(u16::from_be_bytes([*self.input.first()?, *self.input.get(1)?]));
        let message = self.input.get(2..2 + length)?.to_vec();
        self.input.drain(..2 + length);
        Some(message)
    }
}

impl AsFd for Messages {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// A connection that is still being made says so too.
fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NotConnected)
}
