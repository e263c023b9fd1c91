//! The user namespace in which an ordinary user's containers live, with a network namespace for their networks.
//!
//! There is one of each for one place (a directory), shared by all who join. A process that does nothing else holds them, from when somebody first joins
//! until nobody does:
//!
//! ```text
//! users    a lock that all who have joined share; whoever can take it alone is not needed any more
//! start    a lock of whoever is starting a holder, and then of that one until it is ready
//! holder   a lock of the living holder, which tells its pid
//! ids      which ids it has (see `Mapping`)
//! ```
//! The three locks are dropped by the kernel, whatever its owner dies of.

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

use crate::error::{Doing, Fault, FaultKind};
use crate::mapping::Mapping;
use crate::outward;
use crate::users::Guise;

/// The word that makes this program a holder, before the place.
pub const HOLD: &str = "hold";

/// A process inside; it stays so to its end.
#[derive(Debug)]
pub struct Joined {
    network: OwnedFd,
    _users: File,
}

/// Enters the user namespace of a place, as its root. The process must have one thread, and stays in its network.
///
/// # Errors
/// The kernel refuses user namespaces, or the holder could not be started.
pub fn join(place: &Path) -> Result<Joined, Fault> {
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
    pub fn enter_network(&self) -> Result<(), Fault> {
        setns(self.network.as_fd(), CloneFlags::CLONE_NEWNET).doing("enter the network of the user namespace")
    }

    /// Does some work there in a thread of its own, so that this one stays where it is.
    pub(crate) fn beside<T: Send>(&self, work: impl FnOnce() -> Result<T, Fault> + Send) -> Result<T, Fault> {
        let inside = || self.enter_network().and_then(|()| work());
        let died = |_| Err(Fault::new(FaultKind::Internal, "the thread inside the user namespace died"));
        std::thread::scope(|scope| scope.spawn(inside).join().unwrap_or_else(died))
    }
}

fn open(path: &Path) -> Result<File, Fault> {
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

fn holder(place: &Path) -> Result<Option<i32>, Fault> {
    let file = open(&place.join("holder"))?;
    let held = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock)).doing("look for the holder")?;
    Ok(held.and_then(|lock| lock.pid).map(|pid| pid.as_raw_nonzero().get()))
}

/// What the living holder holds: the user namespace and the network namespace.
fn living(place: &Path) -> Result<Option<(File, OwnedFd)>, Fault> {
    let Some(pid) = holder(place)? else { return Ok(None) };
    let of = |kind: &str| File::open(format!("/proc/{pid}/ns/{kind}"));
    let opened = of("user").and_then(|user| Ok((user, OwnedFd::from(of("net")?))));
    // One that died meanwhile may have left its pid to another.
    if holder(place)? != Some(pid) {
        return Ok(None);
    }
    opened.doing("look into the user namespace").map(Some)
}

/// Starts a holder, unless somebody else just has.
fn start(place: &Path) -> Result<(File, OwnedFd), Fault> {
    let turn = open(&place.join("start"))?;
    take(&turn, FlockOperation::LockExclusive).doing("start the holder of the user namespace")?;
    if let Some(found) = living(place)? {
        return Ok(found);
    }
    let what = "start the holder of the user namespace";
    // What runs, whatever an upgrade has put at its path meanwhile.
    let mut child = Command::new("/proc/self/exe")
        .args(["shim", HOLD])
        .arg(place)
        .env_clear()
        .current_dir("/")
        // Whoever starts it may die; the turn goes on.
        .stdin(turn)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .doing(what)?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).doing(what)?;
    }
    child.wait().doing(what)?;
    let said: Result<(), Fault> = serde_json::from_str(&line).map_err(|_| {
        Fault::new(FaultKind::Internal, "the holder of the user namespace died before it said anything")
    })?;
    said?;
    let absent = || Fault::new(FaultKind::Internal, "the holder of the user namespace died");
    living(place)?.ok_or_else(absent)
}

/// The whole life of a holder, in a process of its own; the one called returns once that has its ids. It must have one thread. What leads out of its network
/// ([`outward`]) ends with it.
pub fn hold(place: &Path) -> i32 {
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
                Err(error) => Err(Fault::new(FaultKind::Exhausted, format!("cannot fork: {error}"))),
            }
        }
        Err(error) => Err(Fault::new(FaultKind::Exhausted, format!("cannot make a socket: {error}"))),
    };
    let (said, held) = match said {
        Ok(held) => (Ok(()), Some(held)),
        Err(fault) => (Err(fault), None),
    };
    crate::supervisor::tell_last(&said);
    end_turn();
    let Some((users, holder)) = held else { return 1 };
    // Who comes later than this finds no holder, and starts another.
    let outcome = take(&users, FlockOperation::LockExclusive);
    drop(holder);
    i32::from(outcome.is_err())
}

/// Gives the holder its ids once it asks for them: only somebody outside can. One that does not ask has died, or needs none.
fn serve(mut holder: UnixStream, place: &Path, pid: i32) -> io::Result<()> {
    let mut asked = Vec::new();
    holder.read_to_end(&mut asked)?;
    if asked.is_empty() {
        return Ok(());
    }
    let given = match Mapping::of_place(place) {
        Ok(mapping) => mapping.flatten().map_or(Ok(()), |mapping| mapping.give(pid)),
        Err(error) => Err(error).doing("read which ids the user namespace has"),
    };
    holder.write_all(&serde_json::to_vec(&given)?)
}

/// Lets go of the lock that came as stdin.
fn end_turn() {
    if let Ok(null) = File::open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
    }
}

/// Makes the namespaces; gives what others wait for, and what tells that this is the holder.
fn begin(place: &Path, outside: UnixStream) -> Result<(File, File), Fault> {
    setsid().doing("make a session")?;
    // It was started as `/proc/self/exe`, and would be called so.
    nix::sys::prctl::set_name(c"hythe-hold").doing("take a name")?;
    let (users, holder) = (open(&place.join("users"))?, open(&place.join("holder"))?);
    let is_mapped = Mapping::of_place(place).doing("read which ids the user namespace has")?.flatten().is_some();
    make_user(is_mapped.then_some(outside))?;
    outward::around(place, make_network)?;
    fcntl_lock(&holder, FlockOperation::NonBlockingLockExclusive).doing("become the holder")?;
    Ok((users, holder))
}

/// A user namespace in which this process is root. Nobody else is anybody in it, unless somebody outside gives it more ids.
fn make_user(outside: Option<UnixStream>) -> Result<(), Fault> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|error| refused("user", error))?;
    match outside {
        None => map((0, uid.as_raw()), (0, gid.as_raw())),
        Some(outside) => ask(outside),
    }
}

fn ask(mut outside: UnixStream) -> Result<(), Fault> {
    const WHAT: &str = "ask for the ids of the user namespace";
    outside.write_all(b"?").doing(WHAT)?;
    outside.shutdown(Shutdown::Write).doing(WHAT)?;
    let mut answer = Vec::new();
    outside.read_to_end(&mut answer).doing(WHAT)?;
    serde_json::from_slice(&answer)
        .unwrap_or_else(|_| Err(Fault::new(FaultKind::Internal, "what gives the user namespace its ids died")))
}

fn make_network() -> Result<(), Fault> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| refused("network", error))
}

fn refused(kind: &str, error: nix::Error) -> Fault {
    Fault::new(FaultKind::Unsupported, format!("this machine has no {kind} namespaces for ordinary users: {error}"))
}

/// Gives this process other ids, which it has in a user namespace below, where it is root no more once it gives up its capabilities. It belongs to whom it
/// did, and so do its files, of which it takes all for its own.
pub(crate) fn disguise(guise: Guise) -> Result<(), Fault> {
    unshare(CloneFlags::CLONE_NEWUSER).doing("make a user namespace for the process's user")?;
    // Of one that may not be looked into nobody can write the ids. What it could be robbed of by others in the container goes first; who could look is in it.
    set_dumpable_behavior(DumpableBehavior::Dumpable).doing("map the user")?;
    map((guise.uid, 0), (guise.gid, 0))
}

/// Each one id, inside and outside.
fn map(user: (u32, u32), group: (u32, u32)) -> Result<(), Fault> {
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text).doing(format_args!("map the user: `{file}`"))
    };
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("{} {} 1\n", user.0, user.1))?;
    write("gid_map", format!("{} {} 1\n", group.0, group.1))
}
