//! An engine of a trial's own, which it may kill, freeze and rob; those that all trials share are never touched.

mod docker;
mod podman;

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::files::IMAGE;
use crate::fixture::Fixture;
use crate::program::{self, Ran};
use crate::subject::Subject;

use self::docker::Dockerd;
use self::podman::Wrapper;

/// A private Podman or Docker with the test image in it.
pub(crate) struct OwnEngine {
    pub(crate) subject: Subject,
    kind: Kind,
    directory: TempDir,
}

enum Kind {
    Podman(Wrapper),
    Docker(Dockerd),
}

/// What dockerd does with containers when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workloads {
    GoOn,
    EndWithIt,
}

impl OwnEngine {
    /// Of the kind that the trial runs on.
    pub(crate) fn start(fixture: &Fixture<'_>, workloads: Workloads) -> Self {
        let directory = tempfile::Builder::new().prefix("he2e").tempdir().unwrap();
        let (subject, kind) = if fixture.subject.name == "podman" {
            let shared = &fixture.environment.podman.as_ref().unwrap().program;
            let wrapper = Wrapper::write(directory.path(), shared);
            (Subject::podman_at(&wrapper.program), Kind::Podman(wrapper))
        } else {
            let dockerd = Dockerd::start(directory.path(), workloads);
            (Subject::docker_at(&dockerd.socket), Kind::Docker(dockerd))
        };
        let own = Self { subject, kind, directory };
        own.give_image(fixture);
        own
    }

    /// Loads the test image from the engine that all share.
    pub(crate) fn give_image(&self, fixture: &Fixture<'_>) {
        let archive = self.directory.path().join("image.tar");
        if !archive.exists() {
            fixture.engine().run(&["save", "-o", &archive.display().to_string(), IMAGE]);
        }
        self.direct(&["load", "-i", &archive.display().to_string()]);
    }

    /// Asks the engine past every fault.
    pub(crate) fn direct(&self, words: &[&str]) -> String {
        match &self.kind {
            Kind::Podman(wrapper) => Ran::of(program::command(&wrapper.real).args(words)).ok().out,
            Kind::Docker(_) => self.subject.engine.run(words),
        }
    }

    /// It is gone from one moment to the next; what it runs goes on.
    pub(crate) fn die(&mut self) {
        match &mut self.kind {
            Kind::Podman(wrapper) => wrapper.vanish(),
            Kind::Docker(dockerd) => dockerd.kill(),
        }
    }

    /// It is asked to end, as by a package's upgrade.
    pub(crate) fn end(&mut self) {
        match &mut self.kind {
            Kind::Podman(wrapper) => wrapper.vanish(),
            Kind::Docker(dockerd) => dockerd.end(),
        }
    }

    /// It is there again.
    pub(crate) fn come_back(&mut self) {
        match &mut self.kind {
            Kind::Podman(wrapper) => wrapper.appear(),
            Kind::Docker(dockerd) => dockerd.come_back(),
        }
    }

    /// It answers nothing and refuses nothing.
    pub(crate) fn freeze(&self) {
        match &self.kind {
            Kind::Podman(wrapper) => wrapper.freeze(),
            Kind::Docker(dockerd) => dockerd.freeze(),
        }
    }

    /// It goes on where it was.
    pub(crate) fn thaw(&self) {
        match &self.kind {
            Kind::Podman(wrapper) => wrapper.thaw(),
            Kind::Docker(dockerd) => dockerd.thaw(),
        }
    }

    /// It dies in the middle of what it is doing now or is asked next.
    pub(crate) fn die_in_a_call(&mut self) {
        match &mut self.kind {
            Kind::Podman(wrapper) => wrapper.die(),
            Kind::Docker(dockerd) => dockerd.kill(),
        }
    }

    /// After [`OwnEngine::die_in_a_call`]: whatever died is there again.
    pub(crate) fn recover(&mut self) {
        match &mut self.kind {
            // The agent starts its service again.
            Kind::Podman(_) => {}
            Kind::Docker(dockerd) => dockerd.come_back(),
        }
    }

    /// All it knows is gone, while it is away; where asked its volumes stay.
    pub(crate) fn lose_store(&mut self, keep_volumes: bool) {
        match &mut self.kind {
            Kind::Podman(wrapper) => wrapper.lose_store(keep_volumes),
            Kind::Docker(dockerd) => dockerd.lose_store(keep_volumes),
        }
    }

    /// Loads the image before anybody else can see that the engine is back.
    pub(crate) fn give_image_unseen(&mut self, fixture: &Fixture<'_>) {
        match &mut self.kind {
            Kind::Podman(_) => self.give_image(fixture),
            Kind::Docker(dockerd) => {
                let archive = self.directory.path().join("image.tar");
                dockerd.load_unseen(&archive);
            }
        }
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        match &mut self.kind {
            Kind::Podman(wrapper) => wrapper.clear(),
            Kind::Docker(dockerd) => dockerd.clear(),
        }
        forget(self.directory.path());
    }
}

/// Ends every process that names the directory and takes every mount below it away.
fn forget(directory: &Path) {
    let name = directory.display().to_string();
    for pid in processes_naming(&name) {
        // It may end by itself meanwhile.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let below = mounts.lines().rev().filter_map(|line| line.split(' ').nth(4)).filter(|path| path.starts_with(&name));
    for path in below {
        // Lazily: a process that was killed just now may still hold it.
        let _ = Command::new("umount").args(["-l", path]).output();
    }
}

/// Sends a signal to processes that name one thing and another.
fn signal_those_naming(one: &str, other: &str, signal: rustix::process::Signal) {
    let named: Vec<_> = processes_naming(other);
    for pid in processes_naming(one).into_iter().filter(|pid| named.contains(pid)) {
        // It may end by itself meanwhile.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

fn processes_naming(text: &str) -> Vec<rustix::process::Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let own = std::process::id().cast_signed();
    let names = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    };
    numbers.filter(|pid| *pid != own).filter(names).filter_map(rustix::process::Pid::from_raw).collect()
}
