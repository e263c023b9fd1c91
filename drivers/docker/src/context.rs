//! What every part of the driver shares: the client, and what was found at connect.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use hythe_runtime::rlimits::hard_limits;
use hythe_runtime::{EndedInputs, Error, ErrorKind, Exit, Plan, Result};
use hythe_spec::Seccomp;

use crate::Config;
use crate::client::Client;
use crate::translate::{self, Engine, Surroundings};

/// The largest limit that Podman gives unasked.
const PODMAN_MOST: u64 = 1 << 20;

/// The engine and what is known of it; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) engine: Engine,
    /// Files of this machine are the engine's.
    pub(crate) local: bool,
    /// It is an unprivileged user's.
    pub(crate) rootless: bool,
    /// It can limit processes.
    pub(crate) pids: bool,
    pub(crate) selinux: bool,
    pub(crate) config: Arc<Config>,
    /// Named places that did not answer before this one did.
    pub(crate) passed_over: Vec<String>,
    /// Ids that a stop of ours is working on; neither engine says it.
    pub(crate) stopping: Arc<Mutex<HashSet<String>>>,
    /// Held while a network is made: dockerd before API 1.44 makes two of one name for racing calls.
    pub(crate) making_network: Arc<tokio::sync::Mutex<()>>,
    /// Held while a snapshot is made: an engine lets the later of two commits take the name away from the other.
    pub(crate) making_snapshot: Arc<tokio::sync::Mutex<()>>,
    /// How starts failed, by id, where the engine does not keep it.
    pub(crate) failed_starts: Arc<Mutex<HashMap<String, Exit>>>,
    pub(crate) ended_inputs: EndedInputs,
}

impl Context {
    pub(crate) fn explain(&self, plan: &Plan) -> Result<serde_json::Value> {
        let around = self.surroundings("explain", plan)?;
        let body = translate::create(plan, &around);
        let body = serde_json::to_value(body).map_err(|error| {
            Error::new(ErrorKind::Internal, "explain", "the document cannot be written").source(error)
        })?;
        Ok(translate::explained(&plan.name(), translate::platform(plan, &around).as_deref(), body))
    }

    /// What besides the plan decides the document; reads the seccomp file where there is one.
    pub(crate) fn surroundings(&self, operation: &'static str, plan: &Plan) -> Result<Surroundings> {
        let seccomp = match &plan.security.seccomp {
            Seccomp::File(path) => Some(profile(operation, path)?),
            Seccomp::Default | Seccomp::Unconfined => None,
        };
        Ok(Surroundings {
            engine: self.engine,
            version: self.client.version(),
            rootless: self.rootless,
            pids: self.pids,
            selinux: self.selinux,
            seccomp,
            default_limits_unknown: if self.engine == Engine::Podman && self.local {
                hard_limits(PODMAN_MOST)
            } else {
                Vec::new()
            },
            log_file_bytes: self.config.log_file_bytes,
            log_files: self.config.log_files,
        })
    }
}

/// The profile as compact JSON.
fn profile(operation: &'static str, path: &str) -> Result<String> {
    let invalid = |what: String| Error::new(ErrorKind::Invalid, operation, format!("seccomp profile `{path}` {what}"));
    let text = std::fs::read_to_string(path).map_err(|error| invalid("cannot be read".to_owned()).source(error))?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| invalid("is not JSON".to_owned()).source(error))?;
    Ok(value.to_string())
}
