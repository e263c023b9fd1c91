//! Starting a process as container runtimes do: user, working directory, limits, pipes or a terminal.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{Gid, OFlags, Uid, fchown};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Resource, Rlimit, ioctl_tiocsctty, setrlimit, setsid};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::thread::{
    UnshareFlags, set_no_new_privs, set_thread_gid, set_thread_groups, set_thread_uid, unshare_unsafe,
};

use crate::process::{Child, Input, Output, Sinks};
use crate::protocol::{MAIN, Process, Size};
use crate::user::{self, Identity};
use crate::{cgroup, context, mounts, signals};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

/// Why a process could not be started, and the exit code that shells have for it.
#[derive(Debug)]
pub(crate) struct NotStarted {
    pub(crate) code: i32,
    pub(crate) message: String,
}

/// Starts a process. `sinks` says where its output goes.
pub(crate) fn spawn(id: u32, process: &Process, stdin: bool, sinks: Sinks) -> Result<Child, NotStarted> {
    let failed = |message| NotStarted { code: NOT_EXECUTABLE, message };
    let identity = user::find(process.user.as_deref(), &process.groups).map_err(failed)?;
    let cwd = process.cwd.clone().filter(|cwd| !cwd.is_empty()).unwrap_or_else(|| "/".to_owned());
    let there = match id {
        MAIN => mounts::make_directory(Path::new(&cwd)),
        _ => fs::read_dir(&cwd).map(drop).map_err(|error| error.to_string()),
    };
    there.map_err(context(format!("working directory `{cwd}`"))).map_err(failed)?;
    let env = environment(process, &identity);
    let (name, args) = process.args.split_first().ok_or_else(|| failed("there is no program".to_owned()))?;
    let program = program(name, &env, &cwd)?;
    let limits = rlimits(process).map_err(failed)?;
    let mut command = Command::new(&program);
    command.arg0(name).args(args).env_clear().envs(env);
    let plan = Plan { identity: &identity, cwd, limits, terminal: process.terminal, locked: process.no_new_privileges };
    let io = if process.terminal {
        terminal(&mut command, &identity, process.size)
    } else {
        pipes(&mut command, &identity, stdin)
    };
    let io = io.map_err(|error| failed(format!("standard input and output: {error}")))?;
    plan.apply_to(&mut command);
    let child = command.spawn().map_err(|error| refused(&program, &error))?;
    let (input, outputs) = io;
    Ok(Child::new(id, child.id(), input, outputs, sinks))
}

fn refused(program: &Path, error: &io::Error) -> NotStarted {
    let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
    NotStarted { code, message: format!("`{}` cannot be executed: {error}", program.display()) }
}

fn environment(process: &Process, identity: &Identity) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = Vec::new();
    for variable in &process.env {
        let Some((name, value)) = variable.split_once('=').filter(|(name, _)| !name.is_empty()) else { continue };
        env.retain(|(other, _)| other != name);
        env.push((name.to_owned(), value.to_owned()));
    }
    let term = process.terminal.then_some(("TERM", "xterm"));
    let defaults = [Some(("PATH", PATH)), Some(("HOME", &*identity.home)), term];
    for (name, value) in defaults.into_iter().flatten() {
        if !env.iter().any(|(other, _)| other == name) {
            env.push((name.to_owned(), value.to_owned()));
        }
    }
    env
}

/// The file of a program, found as a shell finds it.
fn program(name: &str, env: &[(String, String)], cwd: &str) -> Result<PathBuf, NotStarted> {
    let is_file = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| !found.is_dir());
    let is_executable = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o111 != 0);
    let not_found = |message| NotStarted { code: NOT_FOUND, message };
    let places: Vec<PathBuf> = if name.contains('/') {
        vec![Path::new(cwd).join(name)]
    } else {
        let path = env.iter().find(|(other, _)| other == "PATH").map_or(PATH, |(_, path)| path);
        path.split(':').map(|folder| Path::new(cwd).join(folder).join(name)).collect()
    };
    let files: Vec<_> = places.into_iter().filter(is_file).collect();
    match files.iter().find(|path| is_executable(path)).or(files.first()) {
        Some(path) if is_executable(path) => Ok(path.clone()),
        Some(path) => {
            let message = format!("`{}` is not executable", path.display());
            Err(NotStarted { code: NOT_EXECUTABLE, message })
        }
        None if name.contains('/') && Path::new(cwd).join(name).is_dir() => {
            Err(NotStarted { code: NOT_EXECUTABLE, message: format!("`{name}` is a directory") })
        }
        None if name.contains('/') => Err(not_found(format!("the image has no file `{name}`"))),
        None => Err(not_found(format!("the image has no program `{name}` in PATH"))),
    }
}

type Limit = (Resource, Rlimit);

fn rlimits(process: &Process) -> Result<Vec<Limit>, String> {
    let named = |limit: &crate::protocol::Rlimit| {
        let resource = resource(&limit.name).ok_or_else(|| format!("resource limit `{}` is unknown", limit.name))?;
        Ok((resource, Rlimit { current: limit.soft, maximum: limit.hard }))
    };
    process.rlimits.iter().map(named).collect()
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return None,
    })
}

/// What the child does between fork and exec.
struct Plan<'a> {
    identity: &'a Identity,
    cwd: String,
    limits: Vec<Limit>,
    terminal: bool,
    locked: bool,
}

impl Plan<'_> {
    fn apply_to(self, command: &mut Command) {
        let (uid, gid) = (Uid::from_raw(self.identity.uid), Gid::from_raw(self.identity.gid));
        let groups: Vec<Gid> = self.identity.groups.iter().map(|group| Gid::from_raw(*group)).collect();
        let Plan { cwd, limits, terminal, locked, .. } = self;
        let group = cgroup::entry();
        let prepare = move || -> io::Result<()> {
            signals::unblock();
            if let Some(group) = group {
                rustix::io::write(group, b"0")?;
                // SAFETY: no memory and no descriptor is shared anew.
                unsafe { unshare_unsafe(UnshareFlags::NEWCGROUP) }?;
            }
            setsid()?;
            if terminal {
                ioctl_tiocsctty(io::stdin())?;
            }
            for (resource, limit) in &limits {
                setrlimit(*resource, *limit)?;
            }
            set_thread_groups(&groups)?;
            set_thread_gid(gid)?;
            set_thread_uid(uid)?;
            rustix::process::chdir(&cwd)?;
            if locked {
                set_no_new_privs(true)?;
            }
            Ok(())
        };
        // SAFETY: the closure makes system calls alone: it takes no lock, and this process has one thread.
        unsafe {
            command.pre_exec(prepare);
        }
    }
}

type Io = (Option<Input>, [Option<Output>; 2]);

fn pipes(command: &mut Command, identity: &Identity, stdin: bool) -> io::Result<Io> {
    let (out_reader, out_writer) = pipe(identity)?;
    let (err_reader, err_writer) = pipe(identity)?;
    command.stdout(Stdio::from(out_writer)).stderr(Stdio::from(err_writer));
    let mut input = None;
    if stdin {
        let (reader, writer) = pipe(identity)?;
        command.stdin(Stdio::from(reader));
        nonblocking(&writer)?;
        input = Some(Input::new(writer, false));
    } else {
        command.stdin(Stdio::null());
    }
    nonblocking(&out_reader)?;
    nonblocking(&err_reader)?;
    Ok((input, [Some(Output::new(out_reader)), Some(Output::new(err_reader))]))
}

/// A pipe of the user, so that the process can open it again by `/dev/stdout`.
fn pipe(identity: &Identity) -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    own(&writer, identity)?;
    Ok((reader, writer))
}

fn own(fd: impl AsFd, identity: &Identity) -> io::Result<()> {
    Ok(fchown(fd, Some(Uid::from_raw(identity.uid)), Some(Gid::from_raw(identity.gid)))?)
}

fn terminal(command: &mut Command, identity: &Identity, size: Option<Size>) -> io::Result<Io> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let theirs = ioctl_tiocgptpeer(&ours, flags)?;
    let gid = fs::metadata("/dev/tty").map_or(identity.gid, |tty| tty.gid());
    fchown(&theirs, Some(Uid::from_raw(identity.uid)), Some(Gid::from_raw(gid)))?;
    if let Some(size) = size {
        resize(&ours, size)?;
    }
    command
        .stdin(Stdio::from(theirs.try_clone()?))
        .stdout(Stdio::from(theirs.try_clone()?))
        .stderr(Stdio::from(theirs));
    nonblocking(&ours)?;
    let output = Output::new(ours.try_clone()?);
    Ok((Some(Input::new(ours, true)), [Some(output), None]))
}

/// Gives a terminal another size.
pub(crate) fn resize(terminal: impl AsFd, size: Size) -> io::Result<()> {
    let size = rustix::termios::Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(rustix::termios::tcsetwinsize(terminal, size)?)
}

fn nonblocking(fd: &OwnedFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)?)
}
