//! One agent in a directory of its own, started, killed and started again by a trial.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{self, Ran, Running};
use crate::wait;

const LOG_SHOWN: usize = 6000;

/// A running agent; ended when dropped.
pub(crate) struct Agent {
    directory: TempDir,
    child: Child,
    /// Its id, which stays the same when it is started again.
    owner: String,
    /// Variables that its next start gets besides.
    variables: BTreeMap<&'static str, String>,
    /// What its next start executes.
    program: PathBuf,
}

impl Agent {
    /// Starts one with this configuration and waits until it answers.
    pub(crate) fn start(config: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("he2e").tempdir().unwrap();
        std::fs::write(directory.path().join("agent.toml"), config).unwrap();
        let variables = BTreeMap::new();
        let program = program::path().to_owned();
        let child = spawn(&program, &directory, &variables);
        let mut agent = Self { directory, child, owner: String::new(), variables, program };
        agent.owner = agent.wait()["owner"].as_str().unwrap_or_default().to_owned();
        agent
    }

    /// A path in its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn socket(&self) -> String {
        self.path("a.sock").display().to_string()
    }

    /// Its database.
    pub(crate) fn database(&self) -> PathBuf {
        self.path("state").join("hythe.db")
    }

    /// The program, told to talk to this agent.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = program::command(program::path());
        command.arg("--host").arg(self.socket()).args(words).current_dir(self.directory.path());
        command
    }

    pub(crate) fn hythe(&self, words: &[&str]) -> Ran {
        Ran::of(&mut self.command(words))
    }

    pub(crate) fn spawn(&self, words: &[&str]) -> Running {
        Running::start(&mut self.command(words))
    }

    /// What it says of itself; null while it does not answer.
    pub(crate) fn version(&self) -> Value {
        self.hythe(&["version", "--json"]).ok().json()["agent"].clone()
    }

    fn wait(&self) -> Value {
        wait::until("the agent answers", || self.version(), |agent| !agent.is_null())
    }

    /// The label of everything that is its own.
    pub(crate) fn owner_label(&self) -> String {
        format!("hythe.owner={}", self.owner)
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Asked to end, as by a service manager.
    pub(crate) fn stop(&mut self) {
        self.end(Signal::TERM);
    }

    fn end(&mut self, signal: Signal) {
        if self.is_running() {
            let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
            kill_process(pid, signal).unwrap();
            self.child.wait().unwrap();
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Starts it again where it does not run.
    pub(crate) fn start_again(&mut self) {
        if !self.is_running() {
            self.start_doomed();
            self.wait();
        }
    }

    /// Starts it again without waiting for it: it may end before it answers.
    pub(crate) fn start_doomed(&mut self) {
        self.child = spawn(&self.program, &self.directory, &self.variables);
    }

    /// Sets a variable of its environment from its next start on.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.variables.insert(name, value.into());
    }

    /// Copies the program to this path of its directory, for its next start.
    pub(crate) fn install(&mut self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Another process copies: see `Home`.
        Ran::of(program::command("cp".as_ref()).arg("--reflink=auto").arg(program::path()).arg(&path)).ok();
        self.program.clone_from(&path);
        path
    }

    /// Takes all variables back, from its next start on.
    pub(crate) fn unset_all(&mut self) {
        self.variables.clear();
    }

    /// Stops it and starts it again.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Starts it again with another configuration.
    pub(crate) fn reconfigure(&mut self, config: &str) {
        self.stop();
        std::fs::write(self.path("agent.toml"), config).unwrap();
        self.start_again();
    }

    /// Kills it, waits, starts it again.
    pub(crate) fn crash(&mut self, down_for: Duration) {
        self.kill();
        std::thread::sleep(down_for);
        self.start_again();
    }

    /// The end of its log.
    pub(crate) fn log(&self) -> String {
        let text = std::fs::read_to_string(self.path("agent.log")).unwrap_or_default();
        let from = text.len().saturating_sub(LOG_SHOWN);
        text.get(from..).unwrap_or(&text).to_owned()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &Path, directory: &TempDir, variables: &BTreeMap<&'static str, String>) -> Child {
    let path = |name: &str| directory.path().join(name);
    let log = File::options().create(true).append(true).open(path("agent.log")).unwrap();
    let mut command = program::command(program);
    command.arg("agent").arg("--config").arg(path("agent.toml"));
    command.arg("--socket").arg(path("a.sock")).arg("--state-dir").arg(path("state"));
    command.env("HYTHE_LOG", "info,hythe_controller=debug").envs(variables);
    command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}
