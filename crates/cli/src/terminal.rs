//! The terminal: its size, and handing its keys to somebody else.

use std::io;
use std::os::fd::AsFd;

use hythe_api::Size;
use rustix::termios::{self, OptionalActions, Termios};

/// Size of a terminal; `None`: it is none, or does not know.
pub(crate) fn size(terminal: impl AsFd) -> Option<Size> {
    let size = termios::tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0).then_some(Size { columns: size.ws_col, rows: size.ws_row })
}

/// Stdin's terminal in raw mode until this is dropped, however that comes.
#[derive(Debug)]
pub(crate) struct RawMode {
    before: Termios,
}

impl RawMode {
    pub(crate) fn enter() -> io::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // There is nobody left to report to.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
