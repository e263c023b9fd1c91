//! Starting QEMU: its sockets are pairs of ours, so that nobody else can reach them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hythe_shim::{Directory, Doing as _, ShimError, ShimErrorKind};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use rustix::io::{FdFlags, fcntl_setfd};

use super::control::Control;
use super::qmp::Qmp;
use crate::translate::{Launch, PORTS};

/// Where QEMU's own words go.
pub(super) const LOG: &str = "qemu.log";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// A running QEMU.
#[derive(Debug)]
pub(super) struct Qemu {
    pub(super) pid: i32,
    pub(super) qmp: Qmp,
    pub(super) control: Control,
    pub(super) stdout: UnixStream,
    pub(super) stderr: UnixStream,
    pub(super) console: UnixStream,
}

/// Starts it, in a network namespace of the instance's where it has one.
pub(super) fn spawn(directory: &Directory, launch: &Launch, network: Option<OwnedFd>) -> Result<Qemu, ShimError> {
    let log = File::create(directory.at(LOG)).doing("open QEMU's log")?;
    let mut command = Command::new(&launch.machine.program);
    command.args(&launch.machine.arguments);
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for port in PORTS {
        let (near, far) = UnixStream::pair().doing("make a socket")?;
        // This process has one thread: nobody else starts a program meanwhile.
        fcntl_setfd(far.as_fd(), FdFlags::empty()).doing("hand a socket on")?;
        command.arg("-chardev").arg(format!("socket,id={port},fd={}", far.as_raw_fd()));
        ours.push(near);
        theirs.push(far);
    }
    let resolv_conf = directory.at("resolv.conf");
    // SAFETY: between fork and exec only system calls are made, by a process that has one thread.
    #[expect(unsafe_code, reason = "a child changes its own namespaces")]
    unsafe {
        command.pre_exec(move || prepare(network.as_ref(), &resolv_conf));
    }
    let child = command
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|error| not_started(&launch.machine.program, &error))?;
    drop(theirs);
    let mut ours = ours.into_iter();
    let mut next = || ours.next().ok_or_else(|| ShimError::new(ShimErrorKind::Internal, "a socket is missing"));
    let (qmp, control, stdout, stderr, console) = (next()?, next()?, next()?, next()?, next()?);
    for socket in [&stdout, &stderr, &console] {
        socket.set_nonblocking(true).doing("use a socket")?;
    }
    Ok(Qemu {
        pid: i32::try_from(child.id()).unwrap_or_default(),
        qmp: Qmp::new(qmp).doing("use the monitor")?,
        control: Control::new(control).doing("use the control port")?,
        stdout,
        stderr,
        console,
    })
}

fn not_started(program: &Path, error: &io::Error) -> ShimError {
    let fault = ShimError::new(ShimErrorKind::Unsupported, format!("cannot start `{}`: {error}", program.display()));
    fault.hint("install `qemu-system-x86`")
}

/// In the child: it dies with its supervisor, and is in the instance's network with its name servers.
fn prepare(network: Option<&OwnedFd>, resolv_conf: &PathBuf) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    let Some(network) = network else { return Ok(()) };
    setns(network, CloneFlags::CLONE_NEWNET)?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
    match mount(Some(resolv_conf), RESOLV_CONF, none, MsFlags::MS_BIND, none) {
        // A host without one has no name servers.
        Ok(()) | Err(nix::Error::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The last line of QEMU.
pub(super) fn last_log_line(directory: &Directory) -> String {
    let text = std::fs::read(directory.at(LOG)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let program = line.split_once(": ").filter(|(name, _)| Path::new(name).as_os_str().as_bytes().starts_with(b"/"));
    let line = program.map_or(line, |(_, rest)| rest);
    line.chars().take(400).collect()
}
