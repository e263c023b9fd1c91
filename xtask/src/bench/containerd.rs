//! containerd as `ctr` drives it, and bare OCI runtimes on a bundle that it made: the peers of a runtime that needs no engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::rounds::quietly;
use crate::failure::{Context, Failure, Result};
use crate::run;

const NAMESPACE: &str = "hythe-bench";

/// A private containerd.
#[derive(Debug)]
pub(crate) struct Containerd {
    socket: PathBuf,
}

impl Containerd {
    /// The one that `env.json` names, where `ctr` is installed.
    pub(crate) fn of(description: &Value) -> Option<Self> {
        let socket = description["containerd"]["socket"].as_str()?;
        run::find("ctr")?;
        Some(Self { socket: socket.into() })
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = run::command("ctr");
        command.arg("--address").arg(&self.socket).args(["--namespace", NAMESPACE]).args(words);
        command
    }

    pub(crate) fn pull(&self, image: &str) -> Command {
        self.command(&["images", "pull", "--plain-http", image])
    }

    /// Image and content, all that a pull made.
    pub(crate) fn forget(&self, image: &str) -> Result<()> {
        quietly(self.command(&["images", "remove", "--sync", image]))
    }

    /// With the default system call filter and without a network, as the others have it.
    pub(crate) fn start(&self, image: &str, name: &str, program: &[&str]) -> Command {
        let mut command = self.command(&["run", "--detach", "--null-io", "--seccomp", image, name]);
        command.args(program);
        command
    }

    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        quietly(self.command(&["task", "remove", "--force", name]))?;
        quietly(self.command(&["container", "remove", name]))
    }

    /// Copies the bundle of a running container: the document its runtime was given, and its files.
    fn copy_bundle(&self, name: &str, into: &Path) -> Result<()> {
        let copying = || format!("copying the bundle of `{name}`");
        let state = self.socket.with_file_name("daemon/io.containerd.runtime.v2.task");
        let bundle = state.join(NAMESPACE).join(name);
        fs::create_dir_all(into).context(copying)?;
        quietly_copy(&bundle.join("rootfs"), into)?;
        let text = fs::read(bundle.join("config.json")).context(copying)?;
        let mut document: Value = serde_json::from_slice(&text).context(copying)?;
        document["root"]["path"] = "rootfs".into();
        if let Some(linux) = document["linux"].as_object_mut() {
            // Each its own.
            linux.remove("cgroupsPath");
        }
        fs::write(into.join("config.json"), document.to_string()).context(copying)
    }
}

impl Drop for Containerd {
    /// containerd leaves the control groups of a namespace behind.
    fn drop(&mut self) {
        let all = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(all).into_iter().flatten().flatten().map(|entry| entry.path());
        for hierarchy in hierarchies.chain([all.to_owned()]) {
            // Only what is empty goes.
            let _ = fs::remove_dir(hierarchy.join(NAMESPACE));
        }
    }
}

fn quietly_copy(from: &Path, into: &Path) -> Result<()> {
    let mut copy = run::command("cp");
    copy.arg("--archive").arg(from).arg(into);
    quietly(copy)
}

/// A bundle that containerd made for `sleep`, for a bare runtime.
#[derive(Debug)]
pub(crate) struct Bundle {
    directory: PathBuf,
}

impl Bundle {
    /// Below `directory`, which goes away by itself.
    pub(crate) fn make(containerd: &Containerd, image: &str, program: &[&str], directory: &Path) -> Result<Self> {
        let directory = directory.join("bundle");
        quietly(containerd.start(image, "bundle", program))?;
        let copied = containerd.copy_bundle("bundle", &directory);
        containerd.remove("bundle")?;
        copied.map(|()| Self { directory })
    }

    /// `runc` or `crun`, with its state beside the bundle; output goes to a file, as a log would.
    pub(crate) fn start(&self, runtime: &str, name: &str) -> Result<Command> {
        let log = fs::File::create(self.directory.join("output")).context(|| "making an output file".into())?;
        let errors = log.try_clone().context(|| "making an output file".into())?;
        let mut command = self.command(runtime, &["run", "--detach", "--bundle"]);
        command.arg(&self.directory).arg(name).stdout(log).stderr(errors);
        Ok(command)
    }

    pub(crate) fn remove(&self, runtime: &str, name: &str) -> Result<()> {
        quietly(self.command(runtime, &["delete", "--force", name]))
    }

    /// What a failed start left in the output.
    pub(crate) fn last_log_lines(&self) -> Failure {
        Failure::new(fs::read_to_string(self.directory.join("output")).unwrap_or_default())
    }

    fn command(&self, runtime: &str, words: &[&str]) -> Command {
        let mut command = run::command(runtime);
        command.arg("--root").arg(self.directory.join("state")).args(words);
        command
    }
}
