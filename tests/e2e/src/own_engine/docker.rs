//! A dockerd with roots and a socket of its own, and neither bridge nor firewall rules.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::Workloads;
use crate::program::{self, Ran};
use crate::wait;

/// Where the daemon and its containerd note their process numbers.
const NUMBERS: [&str; 2] = ["pid", "run/containerd/containerd.pid"];

/// A daemon that can be ended and started again.
pub(super) struct Dockerd {
    root: PathBuf,
    pub(super) socket: PathBuf,
    child: Option<Child>,
    workloads: Workloads,
}

impl Dockerd {
    pub(super) fn start(root: &Path, workloads: Workloads) -> Self {
        let mut dockerd = Self { root: root.to_owned(), socket: root.join("d.sock"), child: None, workloads };
        dockerd.come_back();
        dockerd
    }

    pub(super) fn come_back(&mut self) {
        let socket = self.socket.clone();
        self.listen(&socket);
    }

    fn listen(&mut self, socket: &Path) {
        let log = File::options().create(true).append(true).open(self.root.join("log")).unwrap();
        let path = |name: &str| self.root.join(name);
        // A killed daemon leaves its number, which the next one would take for a running one.
        for stale in NUMBERS {
            if fs::read_to_string(path(stale)).is_ok_and(|pid| !lives(&pid)) {
                fs::remove_file(path(stale)).unwrap();
            }
        }
        let mut command = program::command("dockerd".as_ref());
        command.arg("--data-root").arg(path("data")).arg("--exec-root").arg(path("run"));
        command.arg("--pidfile").arg(path("pid")).arg("--host").arg(format!("unix://{}", socket.display()));
        command.args([
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--ip-masq=false",
        ]);
        command.args(["--group=root", "--exec-opt=native.cgroupdriver=cgroupfs"]);
        // The machine's own configuration is somebody else's.
        fs::write(path("config.json"), "{}").unwrap();
        command.arg("--config-file").arg(path("config.json"));
        if self.workloads == Workloads::GoOn {
            command.arg("--live-restore");
        }
        self.child = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        wait::until("the private dockerd answers", || self.is_up(socket), |up| *up);
    }

    /// Its end in place of an answer is told with its log.
    fn is_up(&mut self, socket: &Path) -> bool {
        if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().unwrap()) {
            panic!("the private dockerd ended with {status}:\n{}", fs::read_to_string(self.root.join("log")).unwrap());
        }
        docker(socket, &["version"]).code == Some(0)
    }

    pub(super) fn kill(&mut self) {
        self.signal_and_wait(Signal::KILL);
    }

    pub(super) fn end(&mut self) {
        self.signal_and_wait(Signal::TERM);
    }

    fn signal_and_wait(&mut self, signal: Signal) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = kill_process(Pid::from_child(&child), signal);
            child.wait().unwrap();
            // The containerd that it started ends with it, a moment later.
            let number = self.root.join(NUMBERS[1]);
            wait::until(
                "its containerd has ended",
                || fs::read_to_string(&number).unwrap_or_default(),
                |pid| !lives(pid),
            );
        }
    }

    pub(super) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub(super) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// Its containers end, then everything they were made of goes.
    pub(super) fn lose_store(&mut self, keep_volumes: bool) {
        super::forget(&self.root.join("data"));
        super::forget(&self.root.join("run"));
        let kept = self.root.join("kept");
        let volumes = self.root.join("data/volumes");
        if keep_volumes {
            fs::rename(&volumes, &kept).unwrap();
        }
        for name in ["data", "run"] {
            let gone = || fs::remove_dir_all(self.root.join(name)).map_err(|error| error.to_string());
            wait::until("what it kept is removed", gone, Result::is_ok).unwrap();
        }
        if keep_volumes {
            fs::create_dir_all(volumes.parent().unwrap()).unwrap();
            fs::rename(kept, volumes).unwrap();
        }
    }

    /// Answers on another socket for as long as it takes to load an image.
    pub(super) fn load_unseen(&mut self, archive: &Path) {
        let aside = self.root.join("aside.sock");
        self.listen(&aside);
        docker(&aside, &["load", "-i", &archive.display().to_string()]).ok();
        self.end();
    }

    /// Removes what it runs, then ends it.
    pub(super) fn clear(&mut self) {
        if self.child.is_some() {
            // Not frozen any more.
            self.signal(Signal::CONT);
            let listed = docker(&self.socket, &["ps", "-aq"]).out;
            for id in listed.lines() {
                docker(&self.socket, &["rm", "-f", id]);
            }
            self.end();
        }
    }
}

fn docker(socket: &Path, words: &[&str]) -> Ran {
    let mut command: Command = program::command("docker".as_ref());
    Ran::of(command.arg("--host").arg(format!("unix://{}", socket.display())).args(words).stdin(Stdio::null()))
}

/// Whether a process of that number runs; one that nobody has reaped yet does not.
fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}
