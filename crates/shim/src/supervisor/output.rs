//! The container's stdio: what it writes goes to the log and to those attached, what they write goes to it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::error::{Doing, ShimError, ShimErrorKind};
use crate::logs::Stream;
use crate::protocol::Size;

/// Bytes that wait for a stdin that is not read; more are not taken from those attached.
pub(crate) const STDIN_WAITS: usize = 256 << 10;

/// Our ends.
#[derive(Debug, Default)]
pub(crate) struct Stdio {
    pub(crate) stdout: Option<File>,
    pub(crate) stderr: Option<File>,
    pub(crate) stdin: Option<File>,
    pub(crate) terminal: Option<File>,
    waiting: Vec<u8>,
    closing: bool,
}

impl Stdio {
    /// Pipes; gives the container's ends.
    pub(crate) fn pipes(with_stdin: bool) -> Result<(Self, [OwnedFd; 3]), ShimError> {
        let pipe = || pipe_with(PipeFlags::CLOEXEC).doing("make a pipe");
        let ((out, out_in), (err, err_in)) = (pipe()?, pipe()?);
        let mut stdio = Self { stdout: Some(out.into()), stderr: Some(err.into()), ..Self::default() };
        let inside = if with_stdin {
            let (inside, ours) = pipe()?;
            stdio.stdin = Some(ours.into());
            inside
        } else {
            File::open("/dev/null").doing("open `/dev/null`")?.into()
        };
        for ours in [&stdio.stdout, &stdio.stderr, &stdio.stdin].into_iter().flatten() {
            fcntl_setfl(ours, OFlags::NONBLOCK).doing("make a pipe")?;
        }
        Ok((stdio, [inside, out_in, err_in]))
    }

    /// The terminal that libcontainer sent.
    pub(crate) fn terminal(&mut self, terminal: OwnedFd) -> Result<(), ShimError> {
        fcntl_setfl(&terminal, OFlags::NONBLOCK).doing("use the terminal")?;
        self.terminal = Some(terminal.into());
        Ok(())
    }

    /// What can be read, with the stream it belongs to.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        let one = |stream, file: &'_ Option<File>| file.as_ref().map(|_| stream);
        let streams = [
            (one(Stream::Stdout, &self.stdout), self.stdout.as_ref()),
            (one(Stream::Stderr, &self.stderr), self.stderr.as_ref()),
            (one(Stream::Stdout, &self.terminal), self.terminal.as_ref()),
        ];
        streams.into_iter().filter_map(|(stream, file)| Some((stream?, file?.as_fd())))
    }

    /// Reads one piece of a stream; an ended one is closed.
    pub(crate) fn read(&mut self, stream: Stream, buffer: &mut [u8]) -> Option<usize> {
        let file = match stream {
            Stream::Stderr => &mut self.stderr,
            Stream::Stdout if self.terminal.is_some() => &mut self.terminal,
            Stream::Stdout => &mut self.stdout,
        };
        match file.as_mut()?.read(buffer) {
            Ok(length) if length > 0 => Some(length),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => None,
            // A terminal ends with an error.
            Ok(_) | Err(_) => {
                *file = None;
                None
            }
        }
    }

    pub(crate) fn takes_stdin(&self) -> bool {
        self.waiting.len() < STDIN_WAITS
    }

    /// Bytes for stdin; written as far as they can be.
    pub(crate) fn give(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        self.flush();
    }

    /// ExitStatus of file, after what waits. A terminal has none.
    pub(crate) fn close_stdin(&mut self) {
        self.closing = true;
        self.flush();
    }

    /// Nobody can write to it any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closing && self.terminal.is_none()
    }

    /// Where to wait until more can be written.
    pub(crate) fn blocked(&self) -> Option<BorrowedFd<'_>> {
        (!self.waiting.is_empty()).then(|| self.stdin.as_ref().or(self.terminal.as_ref()).map(AsFd::as_fd)).flatten()
    }

    pub(crate) fn flush(&mut self) {
        while let Some(file) = self.stdin.as_ref().or(self.terminal.as_ref()).filter(|_| !self.waiting.is_empty()) {
            match rustix::io::write(file, &self.waiting) {
                Ok(length) => drop(self.waiting.drain(..length)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                // Nobody reads it any more.
                Err(_) => {
                    self.waiting.clear();
                    self.stdin = None;
                }
            }
        }
        if self.stdin.is_none() && self.terminal.is_none() {
            self.waiting.clear();
        }
        if self.closing && self.waiting.is_empty() {
            self.stdin = None;
        }
    }

    pub(crate) fn resize(&self, size: Size) {
        if let Some(terminal) = &self.terminal {
            // Only a terminal that has just ended refuses.
            let _ = set_size(terminal.as_fd(), size);
        }
    }
}

pub(crate) fn set_size(terminal: BorrowedFd<'_>, size: Size) -> rustix::io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size)
}

/// The terminal that libcontainer has sent to a socket by the time the process is made.
pub(crate) fn received(listener: &UnixListener) -> Result<OwnedFd, ShimError> {
    let (socket, _) = listener.accept().doing("receive the terminal")?;
    let mut space = [const { std::mem::MaybeUninit::uninit() }; rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 256];
    recvmsg(&socket, &mut [io::IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        .doing("receive the terminal")?;
    let sent = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    sent.ok_or_else(|| ShimError::new(ShimErrorKind::Internal, "no terminal was sent"))
}
