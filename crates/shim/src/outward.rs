//! The way out of an ordinary user's network namespace: `slirp4netns` or `pasta`, where this machine has one of them.
//!
//! The kernel lets no ordinary user join a namespace with the machine's network. Such a program has a link inside, and sends what comes out there as any
//! process of the machine would. It belongs to the holder of the namespaces ([`crate::namespace`]) and dies with it, whatever that dies of.
//!
//! ```text
//! outward.program   a link to the program; made by whoever looks for one
//! outward.json      what became of it; written by the holder
//! ```
//! By both, what is inside looks the same, and nothing of it is the machine's own loopback.

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

use crate::error::{Doing, Fault};
use crate::files::{program, read_json, replace_json};

/// The link inside by which packets leave.
pub const LINK: &str = "outward";
/// What is behind that link, with the length of its network part: nobody's but the program's.
pub const SUBNET: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 0, 2, 0), 24);
/// Asks the machine's name server, also one that listens on the machine's loopback.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

const GATEWAY: &str = "10.0.2.2";
const ADDRESS: &str = "10.0.2.100";
/// In order of preference.
const PROGRAMS: [(&str, Kind); 2] = [("slirp4netns", Kind::Slirp), ("pasta", Kind::Pasta)];
/// It takes some hundredths of a second; containers wait no longer than this for one that hangs.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Slirp,
    Pasta,
}

type Outcome = Result<(), String>;

/// Looks for a program in the directories of a `PATH`, for whoever becomes the holder of that place; whether there is one.
///
/// # Errors
/// The disk.
pub fn choose(place: &Path, path: &OsStr) -> Result<bool, Fault> {
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

/// What became of the way out of a place. An error says why there is none, and is for people.
///
/// # Errors
/// See above.
pub fn outcome(place: &Path) -> Outcome {
    let older = |_| "what the containers share is older than it, and made anew once all of them have ended".to_owned();
    read_json(&told(place)).map_err(older).flatten()
}

fn chosen(place: &Path) -> PathBuf {
    place.join("outward.program")
}

fn told(place: &Path) -> PathBuf {
    place.join("outward.json")
}

fn find(path: &OsStr) -> Option<PathBuf> {
    PROGRAMS.into_iter().find_map(|(name, _)| program(path, name))
}

/// Goes by `leave` from the machine's network to another, of which the program, if one was chosen, is the way out from then on. One that does not work is
/// told, and no error. The process has a thread more afterwards.
pub(crate) fn around(place: &Path, leave: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
    let _ = fs::remove_file(told(place));
    let Ok(program) = fs::read_link(chosen(place)) else { return leave() };
    let (left, has_left) = channel::<()>();
    let (say, said) = channel();
    let at = place.to_owned();
    // This thread stays in the machine's network, so what it starts is there; and as long as what it started lives, since that is told of the death of a thread.
    let keeper = thread::Builder::new().spawn(move || {
        if has_left.recv().is_ok() {
            keep(&program, &at, say);
        }
    });
    leave()?;
    keeper.doing("start a thread")?;
    if left.send(()).is_ok() {
        // It says nothing where it died.
        let _ = said.recv();
    }
    Ok(())
}

fn keep(program: &Path, place: &Path, say: Sender<()>) {
    let tell = |outcome: Outcome| {
        // Whoever asks finds nothing then, which is no better news.
        let _ = replace_json(&told(place), &outcome, false);
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

/// The program at work. Dropped, it ends.
struct Running {
    name: String,
    child: Child,
    complaints: File,
}

/// Starts the program and waits until packets get out.
fn start(program: &Path) -> Result<Running, String> {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut running = spawn(program, &name).map_err(|error| format!("`{name}` does not start: {error}"))?;
    let began = Instant::now();
    while !leads_out() {
        if matches!(running.child.try_wait(), Ok(Some(_))) {
            return Err(running.why("failed"));
        }
        if began.elapsed() > PATIENCE {
            let _ = running.child.kill().and_then(|()| running.child.wait());
            return Err(running.why(&format!("is not ready after {} s", PATIENCE.as_secs())));
        }
        // Only one of the two can tell when it is ready.
        thread::sleep(Duration::from_millis(1));
    }
    Ok(running)
}

fn spawn(program: &Path, name: &str) -> io::Result<Running> {
    // It may complain as much as it likes: when nobody has read what it said, the rest is lost.
    let (complaints, stderr) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let mut command = Command::new(program);
    let kind = PROGRAMS.into_iter().find(|(known, _)| *known == name).map(|(_, kind)| kind);
    match kind {
        Some(Kind::Slirp) => slirp(&mut command),
        Some(Kind::Pasta) => pasta(&mut command)?,
        None => return Err(io::Error::new(io::ErrorKind::Unsupported, "it is not known how")),
    }
    command.env_clear().stdout(Stdio::null()).stderr(stderr);
    die_with_this(&mut command);
    Ok(Running { name: name.to_owned(), child: command.spawn()?, complaints: complaints.into() })
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
    let holder = getpid();
    let ask = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have died just before.
        if getppid() == Some(holder) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: both are system calls, and nothing is allocated.
    #[expect(unsafe_code, reason = "only the child itself can ask for the signal")]
    unsafe {
        command.pre_exec(ask);
    }
}

/// Whether the network of the process, which the first of its threads is in, has a default route.
fn leads_out() -> bool {
    let routes = fs::read_to_string("/proc/self/net/route").unwrap_or_default();
    routes.lines().any(|line| line.split_whitespace().nth(1) == Some("00000000"))
}

impl Running {
    /// Waits; why there is no way out any more.
    fn until_ended(&mut self) -> String {
        // Waiting closes the stdin of a child that still has it.
        let open = self.child.stdin.take();
        let _ = self.child.wait();
        drop(open);
        self.why("ended")
    }

    /// What became of it, with the last that it said.
    fn why(&mut self, what: &str) -> String {
        let mut said = vec![0; 1 << 16];
        let length = self.complaints.read(&mut said).unwrap_or(0);
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
    fn the_better_one_of_those_that_can_be_run_is_chosen() {
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
    fn nothing_told_is_no_way_out() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(outcome(directory.path()).is_err());
        for told in [Ok(()), Err("`pasta` failed".to_owned())] {
            replace_json(&super::told(directory.path()), &told, false).expect("written");
            assert_eq!(outcome(directory.path()), told);
        }
    }
}
