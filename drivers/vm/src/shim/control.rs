//! The guest's control port: frames in both directions, with a window for each stream.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use hythe_guest::protocol::{Channel, Command, Decoder, Frame, MAX_DATA, WINDOW};

/// Reads what is there, up to a piece; `false`: the other side is closed.
pub(super) fn read_some(socket: &mut UnixStream, buffer: &mut Vec<u8>) -> bool {
    let mut piece = [0; 64 << 10];
    match socket.read(&mut piece) {
        Ok(0) => false,
        Ok(length) => {
            buffer.extend_from_slice(&piece[..length]);
            true
        }
        Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
    }
}

/// A socket that is written to without waiting.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) socket: UnixStream,
    waiting: VecDeque<u8>,
}

impl Wire {
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, waiting: VecDeque::new() })
    }

    pub(super) fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.waiting.extend(bytes);
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        while !self.waiting.is_empty() {
            match self.socket.write(self.waiting.as_slices().0) {
                Ok(length) => drop(self.waiting.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Its other side is gone, and with it whoever would have read this.
                Err(_) => self.waiting.clear(),
            }
        }
    }
}

/// The control port.
#[derive(Debug)]
pub(super) struct Control {
    wire: Wire,
    decoder: Decoder,
}

impl Control {
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        Ok(Self { wire: Wire::new(socket)?, decoder: Decoder::default() })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.wire.socket.as_fd()
    }

    pub(super) fn is_behind(&self) -> bool {
        self.wire.is_behind()
    }

    pub(super) fn flush(&mut self) {
        self.wire.flush();
    }

    pub(super) fn tell(&mut self, command: &Command) {
        match Frame::message(command) {
            Ok(frame) => self.wire.send(&frame.encode()),
            // No command has what JSON cannot say.
            Err(error) => super::machine::log_line(&format!("a command cannot be sent: {error}")),
        }
    }

    fn data(&mut self, id: u32, bytes: &[u8]) {
        self.wire.send(&Frame::data(Channel::Stdin, id, bytes).encode());
    }

    /// Reads what came; `false`: the port is closed.
    pub(super) fn read(&mut self, frames: &mut Vec<Frame>) -> bool {
        let mut bytes = Vec::new();
        let alive = read_some(&mut self.wire.socket, &mut bytes);
        self.decoder.push(&bytes);
        loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return alive,
                Err(error) => super::machine::log_line(&format!("the guest's control port: {error}")),
            }
        }
    }
}

/// Standard input of a process of the guest.
#[derive(Debug)]
pub(super) struct Stdin {
    id: u32,
    waiting: VecDeque<u8>,
    window: u64,
    closing: bool,
    closed: bool,
}

impl Stdin {
    pub(super) fn new(id: u32) -> Self {
        Self { id, waiting: VecDeque::new(), window: WINDOW, closing: false, closed: false }
    }

    /// Whether more is taken.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < MAX_DATA * 8
    }

    /// Nobody can write to it any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closing
    }

    pub(super) fn give(&mut self, bytes: &[u8], control: &mut Control) {
        if !self.closing {
            self.waiting.extend(bytes);
            self.pump(control);
        }
    }

    /// End of file, after what waits.
    pub(super) fn close(&mut self, control: &mut Control) {
        self.closing = true;
        self.pump(control);
    }

    /// The guest has read so much.
    pub(super) fn consumed(&mut self, bytes: u64, control: &mut Control) {
        self.window = self.window.saturating_add(bytes).min(WINDOW);
        self.pump(control);
    }

    fn pump(&mut self, control: &mut Control) {
        while self.window > 0 && !self.waiting.is_empty() {
            let most = MAX_DATA.min(usize::try_from(self.window).unwrap_or(MAX_DATA)).min(self.waiting.len());
            let piece: Vec<u8> = self.waiting.drain(..most).collect();
            self.window -= piece.len() as u64;
            control.data(self.id, &piece);
        }
        if self.closing && self.waiting.is_empty() && !self.closed {
            self.closed = true;
            control.data(self.id, b"");
        }
    }
}
