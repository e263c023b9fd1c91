//! A pseudo terminal for a podman child: we hold one end, podman believes that the other is its user's terminal.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hythe_runtime::TerminalSize;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe;

/// Both ends of a terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// What is shown on it.
    pub(crate) output: Output,
    /// What is typed on it. Closing it ends nothing: a process sees the end when a user types it.
    pub(crate) input: pipe::Sender,
    /// Its size.
    pub(crate) size: Size,
    /// Podman's end.
    pub(crate) theirs: OwnedFd,
}

/// Our end for reading. A terminal is read and written as a pipe is, so tokio's pipes do for it.
#[derive(Debug)]
pub(crate) struct Output(pipe::Receiver);

/// Our end for sizes.
#[derive(Debug)]
pub(crate) struct Size(OwnedFd);

impl Terminal {
    /// A terminal that is raw from the start, so that nothing is echoed or translated before podman sets it up.
    pub(crate) fn open(size: Option<TerminalSize>) -> io::Result<Self> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let theirs = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        let mut modes = tcgetattr(&theirs)?;
        modes.make_raw();
        tcsetattr(&theirs, OptionalActions::Now, &modes)?;
        let terminal = Self {
            output: Output(pipe::Receiver::from_file_unchecked(File::from(ours.try_clone()?))?),
            input: pipe::Sender::from_file_unchecked(File::from(ours.try_clone()?))?,
            size: Size(ours),
            theirs,
        };
        if let Some(size) = size {
            terminal.size.set(size)?;
        }
        Ok(terminal)
    }
}

impl Size {
    pub(crate) fn set(&self, size: TerminalSize) -> io::Result<()> {
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(&self.0, size)?)
    }
}

impl AsyncRead for Output {
    /// The error that says that nobody holds the other end any more is the end of the output.
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.0).poll_read(cx, buffer)) {
            Err(closed) if closed.raw_os_error() == Some(Errno::IO.raw_os_error()) => Poll::Ready(Ok(())),
            read => Poll::Ready(read),
        }
    }
}
