//! Processes that outlive this tool: started apart, recorded, and ended only when proven to be the same ones.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::layout::Layout;
use crate::failure::{Context, Failure, Result};
use crate::run;

/// Where daemons look for the programs they use.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A killed process may still be unmounting, which waits for the disk.
const KILL_GRACE: Duration = Duration::from_secs(60);
const POLL_PAUSE: Duration = Duration::from_millis(30);

/// One process, told from a later one of the same number by its start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pid: i32,
    /// Clock ticks after boot, as the kernel gives it.
    started: u64,
}

impl Process {
    /// The process that has this number now; a zombie counts as none.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let started = fields.get(19)?.parse().ok()?;
        (*fields.first()? != "Z").then_some(Self { pid, started })
    }

    pub(crate) fn pid(self) -> i32 {
        self.pid
    }

    pub(crate) fn alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Asks it to end, waits `grace`, then kills it; success when it is gone.
    pub(crate) fn end(self, grace: Duration) -> Result<()> {
        let Some(handle) = self.open() else {
            return Ok(());
        };
        for (signal, patience) in [(Signal::TERM, grace), (Signal::KILL, KILL_GRACE)] {
            let _ = pidfd_send_signal(&handle, signal);
            if ended(&handle, patience) {
                return Ok(());
            }
        }
        let name = fs::read_to_string(format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        Err(Failure::new(format!("process {} (`{}`) does not end", self.pid, name.trim())))
    }

    fn open(self) -> Option<OwnedFd> {
        let handle = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        self.alive().then_some(handle)
    }
}

fn ended(handle: &OwnedFd, patience: Duration) -> bool {
    let Ok(patience) = Timespec::try_from(patience) else {
        return false;
    };
    let mut waiting = [PollFd::new(handle, PollFlags::IN)];
    poll(&mut waiting, Some(&patience)).is_ok_and(|ready| ready > 0)
}

/// A command with a plain environment, in a session of its own, as a daemon would have it.
pub(crate) fn daemon(program: &Path, extra_path: Option<&Path>) -> Command {
    let mut command = run::command("setsid");
    let path = match extra_path {
        Some(first) => format!("{}:{PATH}", first.display()),
        None => PATH.to_owned(),
    };
    let home = std::env::var_os("HOME").unwrap_or_else(|| "/".into());
    command.arg(program).env_clear().env("PATH", path).env("HOME", home).env("LANG", "C.UTF-8").current_dir("/");
    command
}

/// Starts a [`daemon`] with its output appended to the service's log.
pub(crate) fn start(layout: &Layout, service: &str, command: &mut Command) -> Result<Process> {
    let starting = || format!("starting `{service}`");
    let path = layout.log(service);
    fs::create_dir_all(layout.root().join("log")).context(starting)?;
    let log = OpenOptions::new().create(true).append(true).open(&path).context(starting)?;
    let child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone().context(starting)?)
        .stderr(log)
        .spawn()
        .context(starting)?;
    let pid = i32::try_from(child.id()).context(starting)?;
    Process::of(pid).ok_or_else(|| gave_up(layout, service, "it ended at once"))
}

/// Waits until `answers`, while the process lives; otherwise the error carries the log's last lines.
pub(crate) fn wait_until(
    layout: &Layout,
    service: &str,
    process: Process,
    patience: Duration,
    answers: impl Fn() -> bool,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    while !answers() {
        if !process.alive() {
            return Err(gave_up(layout, service, "it ended"));
        }
        if Instant::now() > deadline {
            let seconds = patience.as_secs();
            return Err(gave_up(layout, service, &format!("no answer in {seconds} s")));
        }
        std::thread::sleep(POLL_PAUSE);
    }
    Ok(())
}

/// Every process that belongs to the directory: its command line names it, or its root file system lies in it.
pub(crate) fn belonging_to(root: &Path) -> Vec<(Process, String)> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    all()
        .filter(|process| process.pid != own)
        .map(|process| (process, command_line(process.pid)))
        .filter(|(process, line)| names(line, root) || lives_in(process.pid, root))
        .collect()
}

/// Whether any process of the machine runs a program of this name.
pub(crate) fn any_named(program: &str) -> bool {
    let named = |process: &Process| {
        let name = fs::read_to_string(format!("/proc/{}/comm", process.pid));
        name.is_ok_and(|name| name.trim_end() == program)
    };
    all().any(|process| named(&process))
}

fn all() -> impl Iterator<Item = Process> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Process::of)
}

fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// True for `/root/…` and for `/root` as a whole word, not for `/root2`.
pub(crate) fn names(text: &str, root: &Path) -> bool {
    let root = root.to_string_lossy();
    text.match_indices(&*root).any(|(at, _)| {
        let next = text[at + root.len()..].chars().next();
        !next.is_some_and(|next| next.is_alphanumeric() || "-_.".contains(next))
    })
}

fn lives_in(pid: i32, root: &Path) -> bool {
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    mounts.lines().filter(|line| line.split(' ').nth(4) == Some("/")).any(|line| names(line, root))
}

fn gave_up(layout: &Layout, service: &str, why: &str) -> Failure {
    let log = fs::read_to_string(layout.log(service)).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    let tail = lines[lines.len().saturating_sub(20)..].join("\n    ");
    Failure::new(format!("`{service}` did not come up: {why}; the end of its log:\n    {tail}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_process_is_itself_and_not_another_start_of_the_number() {
        let own = Process::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.alive());
        let earlier = Process { started: own.started - 1, ..own };
        assert!(!earlier.alive());
        assert!(earlier.end(Duration::ZERO).is_ok());
    }

    #[test]
    fn ending_kills_what_ignores_the_request() {
        let mut child = Command::new("sh")
            .args(["-c", "trap '' TERM; echo ready; while :; do sleep 1; done"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 5];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        let process = Process::of(i32::try_from(child.id()).unwrap()).unwrap();
        process.end(Duration::from_millis(50)).unwrap();
        assert!(!process.alive());
        child.wait().unwrap();
    }

    #[test]
    fn a_longer_name_is_another_directory() {
        let root = Path::new("/var/tmp/e");
        assert!(names("dockerd --root /var/tmp/e/d", root));
        assert!(names("ls /var/tmp/e", root));
        assert!(!names("ls /var/tmp/e2/d", root));
    }
}
