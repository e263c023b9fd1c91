//! A user's own surroundings in a temporary directory: what happens there touches no agent of this machine.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::program::{self, Ran};

/// Root's agent has fixed paths, so root becomes this user.
const NOBODY: u32 = 65534;

/// The home of a user without an agent.
pub(crate) struct Home {
    directory: TempDir,
    user: u32,
}

impl Home {
    /// With this configuration for an agent that is started there.
    pub(crate) fn new(config: &str) -> Self {
        Self::of(NOBODY, config)
    }

    /// Of this user, where root can become another.
    pub(crate) fn of(user: u32, config: &str) -> Self {
        let home = Self { directory: tempfile::Builder::new().prefix("he2e").tempdir().unwrap(), user };
        for directory in ["", "run", "config", "config/hythe"] {
            let path = home.path(directory);
            std::fs::create_dir_all(&path).unwrap();
            home.give(path);
        }
        std::fs::write(home.path("config/hythe/agent.toml"), config).unwrap();
        // The checkout may lie where others cannot look. Another process copies: while a file is open for writing here, a
        // child that a trial beside this one starts has it open too, and then it cannot be executed.
        Ran::of(program::command("cp".as_ref()).arg(program::path()).arg(home.path("hythe"))).ok();
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn give(&self, path: PathBuf) {
        if rustix::process::geteuid().is_root() {
            chown(path, Some(self.user), Some(self.user)).unwrap();
        }
    }

    /// The program as this user, with no agent named.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = program::command(&self.path("hythe"));
        command.args(words).current_dir(self.directory.path());
        command.env("HOME", self.directory.path()).env("XDG_RUNTIME_DIR", self.path("run"));
        command.env("XDG_CONFIG_HOME", self.path("config")).env("XDG_STATE_HOME", self.path("state"));
        if rustix::process::geteuid().is_root() {
            command.uid(self.user).gid(self.user);
        }
        command
    }
}

/// Ends the agent of a home, whatever the trial came to.
pub(crate) struct Ends<'a>(pub(crate) &'a Home);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        let answered = Ran::of(&mut self.0.command(&["version", "--json"]));
        let pid = serde_json::from_str::<serde_json::Value>(&answered.out)
            .ok()
            .and_then(|version| version["agent"]["pid"].as_i64());
        let pid = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        // Without an answer there is none to end.
        let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
    }
}
