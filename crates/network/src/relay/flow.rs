//! One direction of a connection.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

/// How often a direction reads before the others have their turn.
const ROUNDS: usize = 4;

/// Bytes on their way. While some are pending, nothing more is read.
#[derive(Debug, Default)]
pub(super) struct Flow {
    pending: Vec<u8>,
    /// The sender has said all.
    ended: bool,
    /// The receiver was told so.
    told: bool,
}

impl Flow {
    pub(super) fn wants_to_read(&self) -> bool {
        !self.ended && self.pending.is_empty()
    }

    pub(super) fn wants_to_write(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(super) fn is_over(&self) -> bool {
        self.told
    }

    /// Carries until one side has to be waited for, or it is another's turn.
    pub(super) fn carry(&mut self, from: &OwnedFd, to: &OwnedFd, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..ROUNDS {
            if !self.flush(to)? {
                return Ok(());
            }
            if self.ended {
                break;
            }
            let length = match recv(from, &mut *buffer, RecvFlags::empty()) {
                Ok((_, length)) => length,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            self.ended = length == 0;
            let sent = write(to, &buffer[..length])?;
            self.pending.extend_from_slice(&buffer[sent..length]);
        }
        // Also where the end came in the last round: nothing would wake us for it.
        if self.ended && self.pending.is_empty() { self.tell(to) } else { Ok(()) }
    }

    fn flush(&mut self, to: &OwnedFd) -> io::Result<bool> {
        let sent = write(to, &self.pending)?;
        self.pending.drain(..sent);
        if self.pending.is_empty() {
            // A peer that was slow once must not cost memory for ever.
            self.pending = Vec::new();
        }
        Ok(self.pending.is_empty())
    }

    fn tell(&mut self, to: &OwnedFd) -> io::Result<()> {
        if !self.told {
            self.told = true;
            shutdown(to, Shutdown::Write)?;
        }
        Ok(())
    }
}

fn write(to: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match send(to, bytes, SendFlags::NOSIGNAL) {
        Ok(sent) => Ok(sent),
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
