//! The user namespace in which rootless containers live, with a network namespace for their networks.
//!
//! There is one of each for one place (a directory), shared by all who join. A pause process keeps both alive, from the first join until
//! nobody is left:
//!
//! ```text
//! users    a lock that all who have joined share; the pause process ends when it can take it alone
//! start    a lock of whoever starts a pause process, and then of that process until it is ready
//! holder   a lock of the running pause process, which gives its pid
//! ids      which ids the user namespace has (see `Mapping`)
//! ```
//! The kernel drops the three locks when their owner dies.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{ForkResult, fork, setsid};
use rustix::fs::{FlockOperation, fcntl_lock, flock};
use rustix::process::{DumpableBehavior, Flock, FlockType, fcntl_getlk, getegid, geteuid, set_dumpable_behavior};

use crate::error::{Doing, ShimError, ShimErrorKind};
use crate::mapping::Mapping;
use crate::rootless_net;
use crate::users::Credentials;

/// The verb of `hythe shim` for the pause process, before the place.
pub const PAUSE: &str = "pause";

/// A process inside; it stays so to its end.
#[derive(Debug)]
pub struct Joined {
    network: OwnedFd,
    _users: File,
}

/// Enters the user namespace of a place, as its root. The process must have one thread, and stays in its network.
///
/// # Errors
/// The kernel refuses user namespaces, or the pause process could not be started.
pub fn join(place: &Path) -> Result<Joined, ShimError> {
    fs::create_dir_all(place).doing(format_args!("make `{}`", place.display()))?;
    let users = open(&place.join("users"))?;
    take(&users, FlockOperation::LockShared).doing("share the user namespace")?;
    let (user, network) = match living(place)? {
        Some(found) => found,
        None => start(place)?,
    };
    setns(&user, CloneFlags::CLONE_NEWUSER).doing("enter the user namespace")?;
    Ok(Joined { network, _users: users })
}

impl Joined {
    /// Goes over to the network namespace that the networks are in. For this thread, and what it starts.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn enter_network(&self) -> Result<(), ShimError> {
        setns(self.network.as_fd(), CloneFlags::CLONE_NEWNET).doing("enter the network of the user namespace")
    }

    /// Does some work there in a thread of its own, so that this one stays where it is.
    pub(crate) fn beside<T: Send>(&self, work: impl FnOnce() -> Result<T, ShimError> + Send) -> Result<T, ShimError> {
        let inside = || self.enter_network().and_then(|()| work());
        let died = |_| Err(ShimError::new(ShimErrorKind::Internal, "the thread inside the user namespace died"));
        std::thread::scope(|scope| scope.spawn(inside).join().unwrap_or_else(died))
    }
}

fn open(path: &Path) -> Result<File, ShimError> {
    let opened = File::options().create(true).truncate(false).read(true).write(true).open(path);
    opened.doing(format_args!("open `{}`", path.display()))
}

fn take(file: &File, how: FlockOperation) -> io::Result<()> {
    loop {
        match flock(file, how) {
            Err(rustix::io::Errno::INTR) => {}
            taken => return Ok(taken?),
        }
    }
}

fn pause_pid(place: &Path) -> Result<Option<i32>, ShimError> {
    let file = open(&place.join("holder"))?;
    let held = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock)).doing("look for the pause process")?;
    Ok(held.and_then(|lock| lock.pid).map(|pid| pid.as_raw_nonzero().get()))
}

/// The user namespace and the network namespace of the running pause process.
fn living(place: &Path) -> Result<Option<(File, OwnedFd)>, ShimError> {
    let Some(pid) = pause_pid(place)? else { return Ok(None) };
    let of = |kind: &str| File::open(format!("/proc/{pid}/ns/{kind}"));
    let opened = of("user").and_then(|user| Ok((user, OwnedFd::from(of("net")?))));
    // One that died meanwhile may have left its pid to another.
    if pause_pid(place)? != Some(pid) {
        return Ok(None);
    }
    opened.doing("look into the user namespace").map(Some)
}

/// Starts a pause process, unless somebody else just has.
fn start(place: &Path) -> Result<(File, OwnedFd), ShimError> {
    let lock = open(&place.join("start"))?;
    take(&lock, FlockOperation::LockExclusive).doing("start the pause process of the user namespace")?;
    if let Some(found) = living(place)? {
        return Ok(found);
    }
    let what = "start the pause process of the user namespace";
    // What runs, whatever an upgrade has put at its path meanwhile.
    let mut child = Command::new("/proc/self/exe")
        .args(["shim", PAUSE])
        .arg(place)
        .env_clear()
        .current_dir("/")
        // Whoever starts it may die; the lock stays until it is ready.
        .stdin(lock)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .doing(what)?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).doing(what)?;
    }
    child.wait().doing(what)?;
    let said: Result<(), ShimError> = serde_json::from_str(&line).map_err(|_| {
        ShimError::new(ShimErrorKind::Internal, "the pause process of the user namespace died without a message")
    })?;
    said?;
    let absent = || ShimError::new(ShimErrorKind::Internal, "the pause process of the user namespace died");
    living(place)?.ok_or_else(absent)
}

/// The whole life of a pause process, forked from this one, which returns once the other has its ids. It must have one thread. The
/// outbound network ([`rootless_net`]) ends with it.
pub fn pause(place: &Path) -> i32 {
    let said = match UnixStream::pair() {
        Ok((here, there)) => {
            // SAFETY: the process has one thread, so nothing is left locked in the child.
            #[expect(
                unsafe_code,
                reason = "to outlive its starter and to leave it no child to reap, it must be a grandchild"
            )]
            match unsafe { fork() } {
                Ok(ForkResult::Parent { child }) => {
                    drop(there);
                    return i32::from(serve(here, place, child.as_raw()).is_err());
                }
                Ok(ForkResult::Child) => {
                    drop(here);
                    begin(place, there)
                }
                Err(error) => Err(ShimError::new(ShimErrorKind::Exhausted, format!("cannot fork: {error}"))),
            }
        }
        Err(error) => Err(ShimError::new(ShimErrorKind::Exhausted, format!("cannot make a socket: {error}"))),
    };
    let (said, held) = match said {
        Ok(held) => (Ok(()), Some(held)),
        Err(fault) => (Err(fault), None),
    };
    crate::supervisor::report_and_close(&said);
    release_start_lock();
    let Some((users, holder)) = held else { return 1 };
    // Who comes later than this finds no pause process, and starts another.
    let outcome = take(&users, FlockOperation::LockExclusive);
    drop(holder);
    i32::from(outcome.is_err())
}

/// Maps the ids of the pause process once it asks for them: only a process outside can. One that does not ask has died, or needs none.
fn serve(mut socket: UnixStream, place: &Path, pid: i32) -> io::Result<()> {
    let mut asked = Vec::new();
    socket.read_to_end(&mut asked)?;
    if asked.is_empty() {
        return Ok(());
    }
    let given = match Mapping::of_place(place) {
        Ok(mapping) => mapping.flatten().map_or(Ok(()), |mapping| mapping.give(pid)),
        Err(error) => Err(error).doing("read which ids the user namespace has"),
    };
    socket.write_all(&serde_json::to_vec(&given)?)
}

/// Releases the lock that came as stdin.
fn release_start_lock() {
    if let Ok(null) = File::open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
    }
}

/// Makes the namespaces; returns the lock that others wait for, and the one that names this as the pause process.
fn begin(place: &Path, outside: UnixStream) -> Result<(File, File), ShimError> {
    setsid().doing("make a session")?;
    // It was started as `/proc/self/exe`, and would be called so.
    nix::sys::prctl::set_name(c"hythe-pause").doing("take a name")?;
    let (users, holder) = (open(&place.join("users"))?, open(&place.join("holder"))?);
    let is_mapped = Mapping::of_place(place).doing("read which ids the user namespace has")?.flatten().is_some();
    make_user(is_mapped.then_some(outside))?;
    rootless_net::start_across(place, make_network)?;
    fcntl_lock(&holder, FlockOperation::NonBlockingLockExclusive).doing("become the pause process")?;
    Ok((users, holder))
}

/// A user namespace in which this process is root. Nobody else is anybody in it, unless somebody outside gives it more ids.
fn make_user(outside: Option<UnixStream>) -> Result<(), ShimError> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|error| refused("user", error))?;
    match outside {
        None => map((0, uid.as_raw()), (0, gid.as_raw())),
        Some(outside) => ask(outside),
    }
}

fn ask(mut outside: UnixStream) -> Result<(), ShimError> {
    const WHAT: &str = "ask for the ids of the user namespace";
    outside.write_all(b"?").doing(WHAT)?;
    outside.shutdown(Shutdown::Write).doing(WHAT)?;
    let mut answer = Vec::new();
    outside.read_to_end(&mut answer).doing(WHAT)?;
    serde_json::from_slice(&answer).unwrap_or_else(|_| {
        Err(ShimError::new(ShimErrorKind::Internal, "the process that maps the ids of the user namespace died"))
    })
}

fn make_network() -> Result<(), ShimError> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| refused("network", error))
}

fn refused(kind: &str, error: nix::Error) -> ShimError {
    ShimError::new(
        ShimErrorKind::Unsupported,
        format!("this host has no {kind} namespaces for unprivileged users: {error}"),
    )
}

/// Moves this process to a nested user namespace, where it has the given ids and is not root once it gives up its capabilities. On the
/// host it and its files still belong to the same user.
pub(crate) fn enter_nested_user_namespace(credentials: Credentials) -> Result<(), ShimError> {
    unshare(CloneFlags::CLONE_NEWUSER).doing("make a user namespace for the process's user")?;
    // Of one that may not be looked into nobody can write the ids. What it could be robbed of by others in the container goes first; who could look is in it.
    set_dumpable_behavior(DumpableBehavior::Dumpable).doing("map the user")?;
    map((credentials.uid, 0), (credentials.gid, 0))
}

/// Each one id, inside and outside.
fn map(user: (u32, u32), group: (u32, u32)) -> Result<(), ShimError> {
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text).doing(format_args!("map the user: `{file}`"))
    };
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("{} {} 1\n", user.0, user.1))?;
    write("gid_map", format!("{} {} 1\n", group.0, group.1))
}
