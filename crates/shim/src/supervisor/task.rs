//! The streams and the network of a container that an engine starts: completes its specification, keeps its log, serves its published
//! ports and names, and outlives agent and engine.
//!
//! The container is no child here: the engine's own supervisor connects it to named pipes, which that one holds open at both ends. So a
//! writer neither dies nor loses anything when this process is killed; another one goes on where it was.
//!
//! ```text
//! config.json      the specification, complete
//! connected.json   what the network gave, while this process lives
//! stdout, stderr   named pipes, there while the container runs
//! ```

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::stat::Mode as FileMode;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change, unmount,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};

use super::exit::eprint_line;
use super::output::Stdio;
use super::prepare::{confine, join_network, own_network, process};
use super::{Network, Report, report_and_close};
use crate::copy_up::copy_up;
use crate::directory::Directory;
use crate::error::{Doing, ShimError};
use crate::files::{replace, replace_json};
use crate::logs::{Stream, Writer};
use crate::record::{Config, RootMount};
use crate::{cgroup, cgroup_setup, devices, mount_points, rootfs};

/// What is read at once.
const PIECE: usize = 64 << 10;
const PIPES: [&str; 2] = ["stdout", "stderr"];
/// An ended process may be listed in its cgroup for a moment longer.
const LOOK: Duration = Duration::from_millis(2);
/// Longest wait for the end of pipes whose writers are gone.
const DRAIN: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// From the specification until no process is left and the last byte of output is in the log.
pub(super) fn run(directory: &Directory, config: &Config, network: &mut dyn Network) -> Result<(), ShimError> {
    let mut spec = complete(directory, config)?;
    let namespace = connect(directory, config, network)?;
    let outcome = begin(directory, config, namespace.as_ref(), &mut spec).and_then(|streams| {
        report_and_close(&Report::Done);
        streams.follow(network, None)
    });
    disconnect(directory, config, network);
    outcome
}

/// As [`run`], for a container that runs already and whose supervisor was killed.
pub(super) fn resume(directory: &Directory, config: &Config, network: &mut dyn Network) -> Result<(), ShimError> {
    let Some((pid, process)) = living(config)? else {
        disconnect(directory, config, network);
        report_and_close(&Report::Done);
        return Ok(());
    };
    let streams = Streams::open(directory, config)?;
    if is_connected(config) {
        let namespace = PathBuf::from(format!("/proc/{pid}/ns/net"));
        let given = network.reserve(config).and_then(|()| network.attach(config, &namespace));
        let recorded = given.and_then(|given| record(directory, &given));
        // Its log goes on all the same.
        recorded.unwrap_or_else(|fault| eprint_line(&format!("its network is not served: {}", fault.message)));
    }
    report_and_close(&Report::Done);
    let outcome = streams.follow(network, Some(process));
    disconnect(directory, config, network);
    outcome
}

fn begin<'a>(
    directory: &Directory,
    config: &'a Config,
    namespace: Option<&OwnedFd>,
    spec: &mut Value,
) -> Result<Streams<'a>, ShimError> {
    if let Some(namespace) = namespace {
        join_network(spec, &format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd()));
    }
    replace(&directory.at("config.json"), &serde_json::to_vec(spec).doing("write")?, false)
        .doing("write the container's document")?;
    Streams::open(directory, config)
}

/// It has networks of ours.
fn is_connected(config: &Config) -> bool {
    !config.network.is_null()
}

/// A network namespace that is connected as asked for; it is there as long as this process or the container has it.
fn connect(directory: &Directory, config: &Config, network: &mut dyn Network) -> Result<Option<OwnedFd>, ShimError> {
    if !is_connected(config) {
        return Ok(None);
    }
    network.reserve(config)?;
    let namespace = own_network()?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", namespace.as_raw_fd()));
    let given = network.attach(config, &path)?;
    record(directory, &given).inspect_err(|_| disconnect(directory, config, network))?;
    Ok(Some(namespace))
}

fn record(directory: &Directory, given: &Value) -> Result<(), ShimError> {
    replace_json(&directory.connected(), given, false).doing("record its networks")
}

fn disconnect(directory: &Directory, config: &Config, network: &mut dyn Network) {
    for name in PIPES {
        // Absent is what is wanted.
        let _ = fs::remove_file(directory.at(name));
    }
    if !is_connected(config) {
        return;
    }
    if let Err(fault) = network.detach(config) {
        eprint_line(&fault.message);
    }
    let _ = fs::remove_file(directory.connected());
}

/// A process of the container; `None`: there is none (any more).
fn living(config: &Config) -> Result<Option<(i32, OwnedFd)>, ShimError> {
    let groups = cgroup::of_path(cgroup_setup::path_of(&config.spec));
    let pids = cgroup::processes(&groups).doing("look for its processes")?;
    // One that has just ended is none.
    Ok(pids.into_iter().find_map(|pid| Some((pid, pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?))))
}

/// What has something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    Output(Stream),
    Network,
    Process,
}

/// The output of a container on its way to its log.
struct Streams<'a> {
    config: &'a Config,
    log: Writer,
    stdio: Stdio,
}

impl<'a> Streams<'a> {
    fn open(directory: &Directory, config: &'a Config) -> Result<Self, ShimError> {
        let log = Writer::open(&directory.logs(), config.logs).doing("open the log")?;
        let [stdout, stderr] = PIPES.map(|name| pipe(&directory.at(name)));
        let mut stdio = Stdio::default();
        stdio.stdout = Some(stdout?);
        // What has a terminal has one stream.
        stdio.stderr = if config.process.tty { None } else { Some(stderr?) };
        Ok(Self { config, log, stdio })
    }

    /// Until the pipes are closed and no process is left. A process that is known already is watched from the beginning.
    fn follow(mut self, network: &mut dyn Network, mut process: Option<OwnedFd>) -> Result<(), ShimError> {
        let mut piece = vec![0; PIECE];
        loop {
            if self.stdio.sources().next().is_none() && process.is_none() {
                match living(self.config)? {
                    Some((_, one)) => process = Some(one),
                    None => return Ok(()),
                }
            }
            for ready in self.wait(network, process.as_ref(), None)? {
                match ready {
                    Ready::Output(stream) => self.pass_on(stream, &mut piece),
                    // A relay that broke serves nobody any more; the container goes on.
                    Ready::Network => drop(network.turn()),
                    Ready::Process => {
                        std::thread::sleep(LOOK);
                        process = living(self.config)?.map(|(_, one)| one);
                        if process.is_none() {
                            return self.drain(network, &mut piece);
                        }
                    }
                }
            }
        }
    }

    /// Pipes that had no writer any more when they were opened have no end.
    fn drain(mut self, network: &dyn Network, piece: &mut [u8]) -> Result<(), ShimError> {
        let began = Instant::now();
        while self.stdio.sources().next().is_some() && began.elapsed() < Duration::from_secs(1) {
            for ready in self.wait(network, None, Some(&DRAIN))? {
                if let Ready::Output(stream) = ready {
                    self.pass_on(stream, piece);
                }
            }
        }
        Ok(())
    }

    fn pass_on(&mut self, stream: Stream, piece: &mut [u8]) {
        if let Some(length) = self.stdio.read(stream, piece) {
            self.log.write(stream, &piece[..length]);
        }
    }

    fn wait(
        &self,
        network: &dyn Network,
        process: Option<&OwnedFd>,
        longest: Option<&Timespec>,
    ) -> Result<Vec<Ready>, ShimError> {
        let mut watched: Vec<(Ready, BorrowedFd<'_>)> =
            self.stdio.sources().map(|(stream, fd)| (Ready::Output(stream), fd)).collect();
        watched.extend(network.descriptor().map(|fd| (Ready::Network, fd)));
        watched.extend(process.map(|fd| (Ready::Process, fd.as_fd())));
        let mut fds: Vec<PollFd<'_>> =
            watched.iter().map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        match poll(&mut fds, longest) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).doing("wait"),
        }
        let ready = watched.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|((ready, _), _)| *ready).collect())
    }
}

/// Our end of a named pipe; one that is there goes on.
fn pipe(path: &Path) -> Result<File, ShimError> {
    match nix::unistd::mkfifo(path, FileMode::S_IRUSR | FileMode::S_IWUSR) {
        Ok(()) | Err(nix::Error::EEXIST) => {}
        Err(error) => return Err(error).doing(format_args!("make `{}`", path.display())),
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    opened.map(File::from).doing(format_args!("open `{}`", path.display()))
}

/// The specification with what only the files of the image tell. They are mounted for a moment, where nobody else sees it.
fn complete(directory: &Directory, config: &Config) -> Result<Value, ShimError> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).doing("make a mount namespace")?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM).doing("separate mounts")?;
    let root = directory.at("root");
    fs::create_dir_all(&root).doing(format_args!("make `{}`", root.display()))?;
    config.rootfs.iter().try_for_each(|one| mount_one(one, &root))?;
    let outcome = within(&root, config);
    // Overlayfs must not be mounted twice from the same directories.
    unmount(&root, UnmountFlags::DETACH).doing("unmount the container's files")?;
    outcome
}

/// Mounts one of the file systems that an engine keeps for a container.
pub(crate) fn mount_one(one: &RootMount, root: &Path) -> Result<(), ShimError> {
    let told = || format!("mount the container's files at `{}`", root.display());
    if one.kind == "bind" {
        return mount_bind_recursive(&one.source, root).doing(told());
    }
    let words: Vec<&str> = one.options.iter().map(String::as_str).filter(|word| !["ro", "rw"].contains(word)).collect();
    let data = std::ffi::CString::new(words.join(",")).doing(told())?;
    mount(&one.source, root, &one.kind, MountFlags::empty(), Some(data.as_c_str())).doing(told())
}

fn within(root: &Path, config: &Config) -> Result<Value, ShimError> {
    let opened = rootfs::open_root(root)?;
    let wanted = &config.process;
    let mut spec = config.spec.clone();
    let env = spec["process"]["env"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let env = env.collect();
    let capabilities = spec["process"]["capabilities"].take();
    let rlimits = spec["process"]["rlimits"].take();
    let mut described = process(root, wanted, env, &rlimits)?;
    confine(&mut described.document, config);
    // What `executor` does for containers of ours, the engine does here.
    described.document["env"] = json!(described.env);
    described.document["cwd"] = json!(wanted.workdir);
    described.document["capabilities"] = capabilities;
    described.document["noNewPrivileges"] = json!(wanted.no_new_privileges);
    spec["process"] = described.document;
    spec["root"]["path"] = json!("rootfs");
    rootfs::make_directory(&opened, &wanted.workdir)?;
    config.copy_up.iter().try_for_each(|volume| copy_up(&opened, volume))?;
    mount_points::prepare(&opened, &mut spec)?;
    devices::grant(&mut spec, &config.devices, false)?;
    Ok(spec)
}
