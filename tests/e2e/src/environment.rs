//! The engines that are up, from the file that `HYTHE_TEST_ENV` names.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// What is up; absent parts are skipped.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Environment {
    pub(crate) podman: Option<Program>,
    pub(crate) docker: Option<Socket>,
    /// A containerd of its own, not the one below Docker.
    #[serde(rename = "own_containerd")]
    pub(crate) containerd: Option<Socket>,
    pub(crate) registry: Option<Registry>,
    /// Engines that this machine cannot have, each with the reason.
    #[serde(default)]
    skipped: BTreeMap<String, String>,
}

/// An engine that is a program.
#[derive(Debug, Deserialize)]
pub(crate) struct Program {
    pub(crate) program: PathBuf,
}

/// An engine behind a socket.
#[derive(Debug, Deserialize)]
pub(crate) struct Socket {
    pub(crate) socket: PathBuf,
}

/// An image registry that speaks plain HTTP.
#[derive(Debug, Deserialize)]
pub(crate) struct Registry {
    /// `host:port`.
    pub(crate) address: String,
    /// The test image there.
    pub(crate) image: String,
}

impl Environment {
    /// The environment of this run; without a file there is nothing but memory.
    pub(crate) fn load() -> Self {
        let Some(path) = std::env::var_os("HYTHE_TEST_ENV").map(PathBuf::from) else {
            return Self::default();
        };
        let text = std::fs::read(&path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()));
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
    }

    /// Why an engine is not up.
    pub(crate) fn reason(&self, engine: &str) -> String {
        let known = self.skipped.get(engine).map(String::as_str);
        let unasked = if std::env::var_os("HYTHE_TEST_ENV").is_some() {
            "it was not brought up"
        } else {
            "HYTHE_TEST_ENV names no environment"
        };
        format!("no {engine}: {}", known.unwrap_or(unasked))
    }
}
