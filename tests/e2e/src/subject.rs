//! The runtimes that trials run on.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::containerd::Namespace;
use crate::embedded::Root;
use crate::engine::Engine;
use crate::environment::Environment;

/// The library that gives a program a clock of its own, where the machine has it.
pub(crate) fn clock_library() -> Option<PathBuf> {
    let libraries = std::fs::read_dir("/usr/lib").ok()?.flatten();
    let places = [Path::new("/usr/lib").to_owned()].into_iter().chain(libraries.map(|entry| entry.path()));
    places.map(|place| place.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}

/// One runtime: how an agent is told of it, and how its engine is asked without the agent.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    /// Its table in the agent's configuration, without the head.
    keys: String,
    pub(crate) engine: Engine,
}

impl Subject {
    pub(crate) fn memory(_environment: &Environment) -> Result<Self, String> {
        Ok(Self { name: "memory", keys: "kind = \"memory\"\n".to_owned(), engine: Engine::Memory })
    }

    pub(crate) fn podman(environment: &Environment) -> Result<Self, String> {
        let podman = environment.podman.as_ref().ok_or_else(|| environment.reason("podman"))?;
        Ok(Self::podman_at(&podman.program).patient())
    }

    /// An engine that all trials share is slow while many ask, and not gone.
    fn patient(mut self) -> Self {
        self.keys.push_str("connect_timeout = 60000\n");
        self
    }

    /// A podman that is this program.
    pub(crate) fn podman_at(program: &Path) -> Self {
        let program = program.display().to_string();
        let keys = format!("kind = \"podman\"\nprogram = \"{program}\"\n");
        Self { name: "podman", keys, engine: Engine::Program(vec![program]) }
    }

    pub(crate) fn docker(environment: &Environment) -> Result<Self, String> {
        let docker = environment.docker.as_ref().ok_or_else(|| environment.reason("docker"))?;
        Ok(Self::docker_at(&docker.socket).patient())
    }

    /// A Docker behind this socket.
    pub(crate) fn docker_at(socket: &Path) -> Self {
        let host = format!("unix://{}", socket.display());
        let keys = format!("kind = \"docker\"\nhost = \"{host}\"\n");
        Self { name: "docker", keys, engine: Engine::Program(vec!["docker".to_owned(), "--host".to_owned(), host]) }
    }

    /// An embedded runtime in a root that nobody else has, with the test image in it.
    pub(crate) fn embedded(environment: &Environment) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("no embedded runtime: it needs root's rights".to_owned());
        }
        let registry = environment.registry.as_ref().ok_or_else(|| environment.reason("registry"))?;
        let root = Root::new(&registry.image);
        let keys = format!("kind = \"embedded\"\nroot = \"{}\"\n", root.path().display());
        Ok(Self { name: "embedded", keys, engine: Engine::Embedded(Arc::new(root)) })
    }

    /// A containerd, in a namespace and a root that nobody else has, with the test image in it.
    pub(crate) fn containerd(environment: &Environment) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("no containerd: it needs root's rights".to_owned());
        }
        let containerd = environment.containerd.as_ref().ok_or_else(|| environment.reason("containerd"))?;
        let registry = environment.registry.as_ref().ok_or_else(|| environment.reason("registry"))?;
        let namespace = Namespace::new(containerd.socket.clone(), &registry.image);
        let keys = namespace.keys();
        Ok(Self { name: "containerd", keys, engine: Engine::Containerd(Arc::new(namespace)) })
    }

    /// The configuration of an agent with this runtime alone.
    pub(crate) fn config(&self) -> String {
        format!("[[runtimes]]\n{}", self.keys)
    }

    /// The same with `privileged` allowed.
    pub(crate) fn privileged_config(&self) -> String {
        let mut config = format!("allow_privileged = true\n{}", self.config());
        if self.engine_is_real() {
            // Writing to a string cannot fail.
            let _ = writeln!(config, "allow_privileged = true");
        }
        config
    }

    pub(crate) fn engine_is_real(&self) -> bool {
        !matches!(self.engine, Engine::Memory)
    }
}
