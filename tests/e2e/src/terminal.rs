//! A terminal to run a program on, and what it was given.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Runs the command with a terminal for stdin, stdout and stderr; everything that it wrote, in both.
pub(crate) fn shown(command: &mut Command) -> String {
    let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&outer).unwrap();
    unlockpt(&outer).unwrap();
    let name = ptsname(&outer, Vec::new()).unwrap();
    let inner = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let end = |inner: &OwnedFd| Stdio::from(inner.try_clone().unwrap());
    command.stdin(end(&inner)).stdout(end(&inner)).stderr(end(&inner)).env("TERM", "xterm");
    let mut child = command.spawn().unwrap();
    // The command holds ends too, and they must be closed for the output to end.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    drop(inner);
    let (mut outer, mut bytes, mut piece) = (File::from(outer), Vec::new(), [0; 4096]);
    // A terminal ends with an error.
    while let Ok(length @ 1..) = outer.read(&mut piece) {
        bytes.extend_from_slice(&piece[..length]);
    }
    child.wait().unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}
