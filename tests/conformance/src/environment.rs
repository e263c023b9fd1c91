//! The engines that can be judged, from the file that `HYTHE_TEST_ENV` names.

use std::path::PathBuf;

use serde::Deserialize;

use crate::failure::{Failure, Outcome};

/// What is up; absent parts are not judged.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Environment {
    /// The test image in every engine.
    pub(crate) image: Option<String>,
    pub(crate) podman: Option<Program>,
    pub(crate) docker: Option<Socket>,
    pub(crate) podman_api: Option<Socket>,
    /// A containerd of its own, not the one below Docker.
    #[serde(rename = "own_containerd")]
    pub(crate) containerd: Option<Socket>,
    pub(crate) vm: Option<Kernel>,
    pub(crate) registry: Option<Registry>,
    pub(crate) registry_auth: Option<Registry>,
}

/// What virtual machines boot.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Kernel {
    /// A directory that a kernel package was unpacked to.
    pub(crate) kernel: PathBuf,
}

/// An engine that is a program.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Program {
    pub(crate) program: PathBuf,
}

/// An engine behind a socket.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Socket {
    pub(crate) socket: PathBuf,
}

/// An image registry that speaks plain HTTP.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Registry {
    /// `host:port`.
    pub(crate) address: String,
}

impl Environment {
    /// The environment of this run; without a file there is nothing but memory.
    pub(crate) fn load() -> Outcome<Self> {
        let Some(path) = std::env::var_os("HYTHE_TEST_ENV").map(PathBuf::from) else {
            println!("only `memory` is judged: HYTHE_TEST_ENV names no environment");
            return Ok(Self::default());
        };
        let wrong = |error: String| Failure::new(format!("`{}`: {error}", path.display()));
        let text = std::fs::read(&path).map_err(|error| wrong(error.to_string()))?;
        serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))
    }
}
