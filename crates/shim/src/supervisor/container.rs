//! A container as a payload, made by libcontainer.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

use serde_json::Value;

use super::output::Stdio;
use super::payload::{Console, Payload, Starting};
use super::prepare::{Document, Prepared, confine, prepare, process};
use super::{Network, recovery};
use crate::cgroup;
use crate::create::{Job, What};
use crate::directory::{Directory, ENGINE};
use crate::error::{Doing, ShimError};
use crate::namespace::Joined;
use crate::protocol::Exec;
use crate::record::{Config, Process};
use crate::users::Credentials;

/// See the module.
#[derive(Debug)]
pub(super) struct Container<'a> {
    directory: &'a Directory,
    config: &'a Config,
    prepared: Prepared,
    /// Known once the main process runs.
    cgroups: Vec<PathBuf>,
}

impl<'a> Container<'a> {
    /// Its file system, its network and the document that libcontainer reads.
    pub(super) fn prepare(
        directory: &'a Directory,
        config: &'a Config,
        network: &mut dyn Network,
        joined: Option<&Joined>,
    ) -> Result<Self, ShimError> {
        let prepared = prepare(directory, config, network, joined)?;
        Ok(Self { directory, config, prepared, cgroups: Vec::new() })
    }

    /// A process of it, without stdio.
    fn job(&self, what: What, process: Process, env: Vec<String>, credentials: Option<Credentials>) -> Job {
        Job {
            id: self.config.id.clone(),
            state: self.directory.engine(),
            what,
            process,
            env,
            credentials,
            rootless: self.config.user_namespace.is_some(),
            size: None,
            named: self.prepared.named(),
            stdio: None,
            console: None,
            groups: recovery::group_path(self.config).to_owned(),
        }
    }

    fn main_console(&self) -> Result<Console, ShimError> {
        let (_open, short) = self.directory.socket().doing("open the instance's directory")?;
        Console::listen(self.directory.at("console.sock"), &short.with_file_name("console.sock"))
    }

    fn exec_console(&self, client: u64) -> Result<Console, ShimError> {
        let name = format!("exec-{client}.sock");
        let (_open, short) = self.directory.socket().doing("open the instance's directory")?;
        Console::listen(self.directory.engine().join(&name), &short.with_file_name(ENGINE).join(&name))
    }
}

impl Payload for Container<'_> {
    fn network(&self) -> &Value {
        &self.prepared.network
    }

    fn start(&self) -> Result<(Stdio, Starting), ShimError> {
        let process = self.config.process.clone();
        let (stdio, inside, console) = if process.tty {
            (Stdio::default(), None, Some(self.main_console()?))
        } else {
            let (stdio, inside) = Stdio::pipes(process.stdin)?;
            (stdio, Some(inside), None)
        };
        let what = What::First(self.prepared.bundle.clone());
        let job = self.job(what, process, self.prepared.env.clone(), self.prepared.credentials);
        let path = console.as_ref().map(|console| console.path().to_owned());
        let creator = crate::create::start(Job { stdio: inside, console: path, ..job })?;
        Ok((stdio, Starting::new(creator, console, None, None)))
    }

    fn on_started(&mut self) -> Vec<PathBuf> {
        self.cgroups = recovery::groups(self.config);
        self.cgroups.clone()
    }

    fn exec(&self, client: u64, mut exec: Exec, stdio: Vec<OwnedFd>) -> Result<Starting, ShimError> {
        // The instance's own, whatever is asked for.
        exec.process.filters = self.config.process.filters.clone();
        exec.process.init = false;
        let env = exec.env.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        let rlimits = self.config.spec.pointer("/process/rlimits").cloned().unwrap_or(Value::Null);
        let mut described = process(&self.prepared.root, &exec.process, env, &rlimits)?;
        confine(&mut described.document, self.config);
        let document = Document::write(&described.document)?;
        let descriptors: Result<[_; 3], _> = stdio.try_into();
        let (stdio, console) = if exec.process.tty {
            (None, Some(self.exec_console(client)?))
        } else {
            (Some(descriptors.map_err(|_| ShimError::invalid("three descriptors belong to it"))?), None)
        };
        let job = self.job(What::More(document.path()), exec.process, described.env, described.credentials);
        let named: Vec<RawFd> = job.named.iter().copied().chain([document.number()]).collect();
        let path = console.as_ref().map(|console| console.path().to_owned());
        let creator = crate::create::start(Job { size: exec.size, named, stdio, console: path, ..job })?;
        Ok(Starting::new(creator, console, exec.size, Some(document)))
    }

    /// Removes the sockets that libcontainer leaves with every process it makes.
    fn on_execs_started(&self) {
        let entries = std::fs::read_dir(self.directory.engine().join(&self.config.id)).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"tenant-")) {
            // What stays is gone with the run.
            let _ = std::fs::remove_file(entry.path());
        }
    }

    fn signal(&self, pid: i32, number: i32) -> io::Result<()> {
        crate::executor::signal(pid, number)
    }

    fn freeze(&self, frozen: bool) -> io::Result<()> {
        cgroup::freeze(&self.cgroups, frozen)
    }

    fn is_frozen(&self) -> bool {
        cgroup::is_frozen(&self.cgroups)
    }

    fn was_oom_killed(&self) -> bool {
        cgroup::killed_for_memory(&self.cgroups) > 0
    }

    fn kill(&self) {
        for one in cgroup::processes(&recovery::groups(self.config)).unwrap_or_default() {
            // It may have ended by itself.
            let _ = crate::executor::signal(one, nix::libc::SIGKILL);
        }
    }

    fn remove(&self) -> io::Result<()> {
        cgroup::remove(&recovery::groups(self.config))
    }
}
