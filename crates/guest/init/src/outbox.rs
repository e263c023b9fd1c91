//! What is to be written to a port, and whether the host listens there.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

/// More than this is not read from a process before the port has taken what was read.
const FULL: usize = 256 << 10;
/// How often a port without a host is looked at: the kernel reports its absence again and again, not its return.
pub(crate) const RECHECK: Duration = Duration::from_millis(50);

/// A port and the chunks that wait for it.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) port: File,
    chunks: VecDeque<Vec<u8>>,
    /// Bytes of the first chunk that are written.
    sent: usize,
    bytes: usize,
    /// Whether the host has the port open, as far as it is known.
    pub(crate) is_connected: bool,
}

impl Outbox {
    pub(crate) fn new(port: File) -> Self {
        Self { port, chunks: VecDeque::new(), sent: 0, bytes: 0, is_connected: true }
    }

    pub(crate) fn push(&mut self, chunk: Vec<u8>) {
        self.bytes += chunk.len();
        self.chunks.push_back(chunk);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= FULL
    }

    /// Writes what the port takes; reports whether it took anything.
    pub(crate) fn flush(&mut self) -> bool {
        let mut progress = false;
        while let Some(chunk) = self.chunks.front() {
            match self.port.write(&chunk[self.sent..]) {
                Ok(0) => return progress,
                Ok(length) => {
                    progress = true;
                    self.sent += length;
                    self.bytes -= length;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return progress,
            }
            if self.sent == chunk.len() {
                self.chunks.pop_front();
                self.sent = 0;
            }
        }
        progress
    }

    /// Looks whether the host is there.
    pub(crate) fn recheck(&mut self) {
        let mut fds = [PollFd::new(&self.port, PollFlags::IN)];
        let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        self.is_connected = poll(&mut fds, Some(&none)).is_ok() && !fds[0].revents().contains(PollFlags::HUP);
    }
}
