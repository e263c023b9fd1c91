//! What an environment remembers: a public description for tests and the private facts `down` needs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::host_changes::Before;
use super::layout::Layout;
use super::pool::Pool;
use super::process::Process;
use crate::failure::{Context, Result};

/// The shape of `env.json`; an engine that is not up is absent.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Description {
    /// The test image's name in every engine of this environment.
    pub(crate) image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) podman: Option<Program>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) podman_api: Option<Socket>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) docker: Option<Socket>,
    /// The containerd that belongs to that dockerd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) containerd: Option<Socket>,
    /// One that belongs to nobody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) own_containerd: Option<Socket>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vm: Option<Kernel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) registry: Option<Registry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) registry_auth: Option<Registry>,
    /// An OpenSSH server, unpacked and not running, for podman behind ssh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sshd: Option<Sshd>,
    /// Engines asked for that this machine cannot have, each with the reason.
    #[serde(default)]
    pub(crate) skipped: BTreeMap<String, String>,
}

/// A server's program and the directory of its libraries.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sshd {
    pub(crate) program: PathBuf,
    pub(crate) libraries: PathBuf,
}

/// An engine that is a program.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) program: PathBuf,
}

/// An engine that answers on a Unix socket.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Socket {
    pub(crate) socket: PathBuf,
}

/// What virtual machines boot.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kernel {
    /// The directory that a kernel package was unpacked to.
    pub(crate) kernel: PathBuf,
}

/// An image registry speaking plain HTTP on loopback.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Registry {
    /// `127.0.0.1:port`.
    pub(crate) address: String,
    /// The test image's name in this registry.
    pub(crate) image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<String>,
}

/// The shape of `state.json`, of no use to anybody but this tool.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) pool: Pool,
    /// Daemons started, by service name.
    pub(crate) processes: BTreeMap<String, Process>,
    pub(crate) before: Before,
    pub(crate) description: Description,
}

impl State {
    /// A name, and a place or a reason, for every engine that was asked for.
    pub(crate) fn lines(&self) -> Vec<(String, String)> {
        let Description { podman, podman_api, docker, registry, registry_auth, own_containerd, vm, skipped, .. } =
            &self.description;
        let program = |podman: &Program| podman.program.display().to_string();
        let socket = |engine: &Socket| engine.socket.display().to_string();
        let address = |registry: &Registry| registry.address.clone();
        let places = [
            ("podman", podman.as_ref().map(program)),
            ("podman-api", podman_api.as_ref().map(socket)),
            ("docker", docker.as_ref().map(socket)),
            ("containerd", own_containerd.as_ref().map(socket)),
            ("vm", vm.as_ref().map(|vm| vm.kernel.display().to_string())),
            ("registry", registry.as_ref().map(address)),
            ("registry-auth", registry_auth.as_ref().map(address)),
        ];
        let places = places.into_iter().filter_map(|(name, place)| Some((name, place?)));
        let up = places.map(|(name, place)| (name.to_owned(), format!("{place}{}", self.remark(name))));
        let skipped = skipped.iter().map(|(name, why)| (name.clone(), format!("skipped: {why}")));
        up.chain(skipped).collect()
    }

    fn remark(&self, service: &str) -> &'static str {
        match self.processes.get(service) {
            Some(process) if !process.alive() => " (ended; `env up` starts it again)",
            _ => "",
        }
    }

    /// The recorded state, or `None` when nothing usable is recorded.
    pub(crate) fn load(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Writes both files, each replaced in one step.
    pub(crate) fn save(&self, layout: &Layout) -> Result<()> {
        replace(&layout.state(), self)?;
        replace(&layout.description(), &self.description)
    }
}

fn replace(path: &Path, value: &impl Serialize) -> Result<()> {
    let writing = || format!("writing `{}`", path.display());
    let mut text = serde_json::to_vec_pretty(value).context(writing)?;
    text.push(b'\n');
    let fresh = path.with_extension("json.new");
    fs::write(&fresh, text).context(writing)?;
    fs::rename(&fresh, path).context(writing)
}
