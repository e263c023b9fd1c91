//! Outbound network access of rootless containers, by `slirp4netns` or `pasta` where the host has one of them.
//!
//! The kernel lets no unprivileged user connect a network namespace to the host's network. Such a program has a link inside and sends
//! what arrives there as any process of the host would. It is a child of the pause process ([`crate::namespace`]) and dies with it.
//!
//! ```text
//! outward.program   a link to the program; made by the agent
//! outward.json      its state; written by the pause process
//! ```
//! Both programs give the same addresses. Neither forwards to the host's loopback.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

use crate::error::{Doing, ShimError};
use crate::files::{program, read_json, replace_json};

/// The link inside by which packets leave.
pub const LINK: &str = "outward";
/// What is behind that link, with the length of its network part: nobody's but the program's.
pub const SUBNET: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 0, 2, 0), 24);
/// Forwards to the host's name server, also one that listens on the host's loopback.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

const GATEWAY: &str = "10.0.2.2";
const ADDRESS: &str = "10.0.2.100";
/// In order of preference.
const PROGRAMS: [(&str, Kind); 2] = [("slirp4netns", Kind::Slirp), ("pasta", Kind::Pasta)];
/// A start takes some hundredths of a second; containers wait no longer than this for a program that hangs.
const LONGEST_START: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Slirp,
    Pasta,
}

type Outcome = Result<(), String>;

/// Looks for a program in the directories of a `PATH`, for the pause process of that place; whether there is one.
///
/// # Errors
/// The disk.
pub fn choose(place: &Path, path: &OsStr) -> Result<bool, ShimError> {
    let (link, found) = (chosen(place), find(path));
    if fs::read_link(&link).ok() == found {
        return Ok(found.is_some());
    }
    let what = format!("write `{}`", link.display());
    match fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).doing(what),
        _ => {}
    }
    let Some(found) = found else { return Ok(false) };
    fs::create_dir_all(place).and_then(|()| symlink(found, link)).doing(what)?;
    Ok(true)
}

/// State of the program of a place. An error says why there is no outbound network, for people.
///
/// # Errors
/// See above.
pub fn outcome(place: &Path) -> Outcome {
    let older =
        |_| "the shared user namespace is older than it, and is recreated once all containers have exited".to_owned();
    read_json(&state_file(place)).map_err(older).flatten()
}

fn chosen(place: &Path) -> PathBuf {
    place.join("outward.program")
}

fn state_file(place: &Path) -> PathBuf {
    place.join("outward.json")
}

fn find(path: &OsStr) -> Option<PathBuf> {
    PROGRAMS.into_iter().find_map(|(name, _)| program(path, name))
}

/// Calls `leave`, which moves this process to a new network namespace, and starts the chosen program, if any, in the old one. A program
/// that fails is recorded, and is no error. The process has one thread more afterwards.
pub(crate) fn start_across(place: &Path, leave: impl FnOnce() -> Result<(), ShimError>) -> Result<(), ShimError> {
    let _ = fs::remove_file(state_file(place));
    let Ok(program) = fs::read_link(chosen(place)) else { return leave() };
    let (left, has_left) = channel::<()>();
    let (say, said) = channel();
    let at = place.to_owned();
    // This thread stays in the host's network, so its child is there. It stays as long as the child lives: the child's parent death
    // signal is sent when the thread ends.
    let supervisor = thread::Builder::new().spawn(move || {
        if has_left.recv().is_ok() {
            supervise(&program, &at, say);
        }
    });
    leave()?;
    supervisor.doing("start a thread")?;
    if left.send(()).is_ok() {
        // It says nothing where it died.
        let _ = said.recv();
    }
    Ok(())
}

fn supervise(program: &Path, place: &Path, say: Sender<()>) {
    let tell = |outcome: Outcome| {
        // Whoever asks finds nothing then, which is no better news.
        let _ = replace_json(&state_file(place), &outcome, false);
    };
    match start(program) {
        Ok(mut running) => {
            tell(Ok(()));
            drop(say);
            tell(Err(running.until_ended()));
        }
        Err(reason) => tell(Err(reason)),
    }
}

/// The running program. Dropped, it ends.
struct Running {
    name: String,
    child: Child,
    stderr_pipe: File,
}

/// Starts the program and waits until packets get out.
fn start(program: &Path) -> Result<Running, String> {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut running = spawn(program, &name).map_err(|error| format!("`{name}` does not start: {error}"))?;
    let began = Instant::now();
    while !has_default_route() {
        if matches!(running.child.try_wait(), Ok(Some(_))) {
            return Err(running.why("failed"));
        }
        if began.elapsed() > LONGEST_START {
            let _ = running.child.kill().and_then(|()| running.child.wait());
            return Err(running.why(&format!("is not ready after {} s", LONGEST_START.as_secs())));
        }
        // Only one of the two can tell when it is ready.
        thread::sleep(Duration::from_millis(1));
    }
    Ok(running)
}

fn spawn(program: &Path, name: &str) -> io::Result<Running> {
    // It may complain as much as it likes: when nobody has read what it said, the rest is lost.
    let (stderr_pipe, stderr) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let mut command = Command::new(program);
    let kind = PROGRAMS.into_iter().find(|(known, _)| *known == name).map(|(_, kind)| kind);
    match kind {
        Some(Kind::Slirp) => slirp(&mut command),
        Some(Kind::Pasta) => pasta(&mut command)?,
        None => return Err(io::Error::new(io::ErrorKind::Unsupported, "it is not known how")),
    }
    command.env_clear().stdout(Stdio::null()).stderr(stderr);
    die_with_this(&mut command);
    Ok(Running { name: name.to_owned(), child: command.spawn()?, stderr_pipe: stderr_pipe.into() })
}

/// It ends when its stdin does, which the kernel sees to.
fn slirp(command: &mut Command) {
    let (address, prefix) = SUBNET;
    command
        .args(["--configure", "--mtu=65520", "--disable-host-loopback", "--enable-sandbox", "--enable-seccomp"])
        .arg(format!("--cidr={address}/{prefix}"))
        .args(["--exit-fd=0", "--netns-type=path"])
        .args([&format!("/proc/{}/ns/net", getpid()), LINK])
        .stdin(Stdio::piped());
}

/// It gives up the right to look at a process before it looks for the namespace, so it is handed that.
fn pasta(command: &mut Command) -> io::Result<()> {
    command
        .args(["--foreground", "--quiet", "--ipv4-only", "--config-net", "--no-map-gw"])
        .args(["--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"])
        .args(["--address", ADDRESS, "--netmask", &SUBNET.1.to_string(), "--gateway", GATEWAY])
        .args(["--dns-forward", &RESOLVER.to_string(), "--ns-ifname", LINK])
        .args(["--netns-only", "--no-netns-quit", "--netns", "/proc/self/fd/0"])
        .stdin(File::open("/proc/self/ns/net")?);
    Ok(())
}

fn die_with_this(command: &mut Command) {
    let parent = getpid();
    let ask = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have died just before.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: both are system calls, and nothing is allocated.
    #[expect(unsafe_code, reason = "only the child itself can ask for the signal")]
    unsafe {
        command.pre_exec(ask);
    }
}

/// Whether the network of the process, which the first of its threads is in, has a default route.
fn has_default_route() -> bool {
    let routes = fs::read_to_string("/proc/self/net/route").unwrap_or_default();
    routes.lines().any(|line| line.split_whitespace().nth(1) == Some("00000000"))
}

impl Running {
    /// Waits for its end; why it ended.
    fn until_ended(&mut self) -> String {
        // Waiting closes the stdin of a child that still has it.
        let open = self.child.stdin.take();
        let _ = self.child.wait();
        drop(open);
        self.why("ended")
    }

    /// `what` happened to it, with its last lines of output.
    fn why(&mut self, what: &str) -> String {
        let mut said = vec![0; 1 << 16];
        let length = self.stderr_pipe.read(&mut said).unwrap_or(0);
        let said = String::from_utf8_lossy(&said[..length]);
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        // The last line may say no more than that it failed.
        match &lines[lines.len().saturating_sub(2)..] {
            [] => format!("`{}` {what}", self.name),
            last => format!("`{}` {what}: {}", self.name, last.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn program(path: &Path, mode: u32) {
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, "").expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    }

    #[test]
    fn choose_takes_the_preferred_executable_program() {
        let directory = tempfile::tempdir().expect("a directory");
        let (one, two, place) = (directory.path().join("1"), directory.path().join("2"), directory.path().join("user"));
        let path = std::env::join_paths([Path::new("."), &one, &two]).expect("a path");
        assert_eq!(choose(&place, &path), Ok(false));
        program(&one.join("pasta"), 0o755);
        program(&one.join("slirp4netns"), 0o644);
        assert_eq!(choose(&place, &path), Ok(true));
        assert_eq!(fs::read_link(chosen(&place)).ok(), Some(one.join("pasta")));
        program(&two.join("slirp4netns"), 0o755);
        assert_eq!(choose(&place, &path), Ok(true));
        assert_eq!(fs::read_link(chosen(&place)).ok(), Some(two.join("slirp4netns")));
        assert_eq!(choose(&place, OsStr::new("")), Ok(false));
        assert_eq!(fs::read_link(chosen(&place)).ok(), None);
    }

    #[test]
    fn outcome_without_record_is_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(outcome(directory.path()).is_err());
        for told in [Ok(()), Err("`pasta` failed".to_owned())] {
            replace_json(&super::state_file(directory.path()), &told, false).expect("written");
            assert_eq!(outcome(directory.path()), told);
        }
    }
}
