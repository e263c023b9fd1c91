//! What every part of the driver shares: the client and what was found at connect; reading one container, reading all.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use hythe_runtime::{
    Error, ErrorKind, Exit, Filter, Health, Identity, InstanceId, Listed, Observed, Plan, Result, State,
};
use hythe_spec::{Seccomp, Ulimit};
use rustix::process::{Resource, getrlimit};

use crate::Config;
use crate::capability;
use crate::client::{Client, filters, segment};
use crate::error::{broken, listing, translate};
use crate::evidence::killed_for_memory;
use crate::native::{Container, Info, Row};
use crate::translate::{self, Engine, Surroundings};

/// Exit code of a process that SIGKILL ended.
const KILLED: i32 = 137;
/// The largest limit that Podman gives unasked.
const PODMAN_MOST: u64 = 1 << 20;

/// The engine and what is known of it; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Core {
    pub(crate) client: Client,
    pub(crate) engine: Engine,
    /// Files of this machine are the engine's.
    pub(crate) local: bool,
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
}

impl Core {
    pub(crate) async fn probe(&self) -> Result<Health> {
        let limit = self.config.connect_timeout;
        let asked = tokio::time::timeout(limit.duration(), self.client.get::<Info>("/info", &[])).await;
        let info = match asked {
            Ok(info) => info.map_err(|error| translate("probe", "", error))?,
            Err(_) => return Err(broken("probe", &format!("nothing within {limit}"))),
        };
        let mut warnings = self.passed_over.clone();
        warnings.extend(capability::warnings(&info));
        Ok(Health { version: info.server_version, warnings })
    }

    /// The container of that id or name.
    pub(crate) async fn container(&self, operation: &'static str, id: &str) -> Result<Container> {
        if id.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, operation, "an instance without a name does not exist"));
        }
        let path = format!("/containers/{}/json", segment(id));
        self.client.get(&path, &[]).await.map_err(|error| translate(operation, id, error))
    }

    /// The same, if it is ours to change: it carries our labels, or it was adopted and is therefore named by its whole id.
    pub(crate) async fn own(&self, operation: &'static str, id: &InstanceId) -> Result<Container> {
        let container = self.container(operation, &id.0).await?;
        if Identity::from_labels(&container.config.labels).is_some() || container.id == id.0 {
            return Ok(container);
        }
        Err(Error::new(ErrorKind::Conflict, operation, format!("`{id}` carries no labels of Hythe; it is left alone")))
    }

    pub(crate) async fn observe(&self, id: &InstanceId) -> Result<Observed> {
        let mut observed = translate::observed(self.container("inspect", &id.0).await?, self.engine);
        if self.is_stopping(&observed.id.0) && observed.state == State::Running {
            observed.state = State::Stopping;
        }
        if observed.state == State::Created && observed.exit.is_none() {
            observed.exit =
                self.failed_starts.lock().unwrap_or_else(PoisonError::into_inner).get(&observed.id.0).cloned();
        }
        if let Some(exit) = observed.exit.as_mut().filter(|exit| !exit.oom && exit.code == KILLED)
            && self.engine == Engine::Podman
            && self.local
        {
            exit.oom = killed_for_memory(&observed.id.0).await;
        }
        Ok(observed)
    }

    pub(crate) async fn list(&self, filter: &Filter) -> Result<Vec<Listed>> {
        let labels: Vec<String> = filter.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let filters = filters(&[("label", labels)]);
        let rows: Vec<Row> = self
            .client
            .get("/containers/json", &[("all", "1"), ("filters", &filters)])
            .await
            .map_err(|error| listing("list", error))?;
        let mut list: Vec<Listed> = rows.into_iter().map(translate::listed).collect();
        list.retain(|row| filter.labels.iter().all(|(key, value)| row.labels.get(key) == Some(value)));
        for row in &mut list {
            if row.state == State::Running && self.is_stopping(&row.id.0) {
                row.state = State::Stopping;
            }
        }
        list.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(list)
    }

    /// Names of the containers, running or not, that a filter of the list finds: the users of a volume or a network.
    pub(crate) async fn users_of(&self, operation: &'static str, filter: &str, name: &str) -> Result<Vec<String>> {
        let filters = filters(&[(filter, vec![name.to_owned()])]);
        let rows = self.client.get::<Vec<Row>>("/containers/json", &[("all", "1"), ("filters", &filters)]).await;
        let rows = rows.map_err(|error| translate(operation, name, error))?;
        let mut names: Vec<String> = rows.into_iter().map(|row| translate::listed(row).name).collect();
        names.sort();
        Ok(names)
    }

    fn is_stopping(&self, id: &str) -> bool {
        self.stopping.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    pub(crate) fn explain(&self, plan: &Plan) -> Result<serde_json::Value> {
        let body = translate::create(plan, &self.surroundings("explain", plan)?);
        let body = serde_json::to_value(body).map_err(|error| {
            Error::new(ErrorKind::Internal, "explain", "the document cannot be written").source(error)
        })?;
        Ok(translate::explained(&plan.name(), body))
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
            selinux: self.selinux,
            seccomp,
            own_limits: if self.engine == Engine::Podman && self.local { own_limits() } else { Vec::new() },
            log_file_bytes: self.config.log_file_bytes,
            log_files: self.config.log_files,
        })
    }
}

/// What a local Podman can give: it lowers its own limits to these when it starts.
fn own_limits() -> Vec<Ulimit> {
    let pid_max = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok().and_then(|text| text.trim().parse().ok());
    [("nofile", Resource::Nofile, PODMAN_MOST), ("nproc", Resource::Nproc, pid_max.unwrap_or(PODMAN_MOST))]
        .into_iter()
        .map(|(name, resource, most)| {
            let hard = getrlimit(resource).maximum.unwrap_or(u64::MAX).min(most).min(PODMAN_MOST);
            let hard = i64::try_from(hard).unwrap_or(i64::MAX);
            Ulimit { name: name.to_owned(), soft: hard, hard }
        })
        .collect()
}

/// The profile as compact JSON.
fn profile(operation: &'static str, path: &str) -> Result<String> {
    let invalid = |what: String| Error::new(ErrorKind::Invalid, operation, format!("seccomp profile `{path}` {what}"));
    let text = std::fs::read_to_string(path).map_err(|error| invalid("cannot be read".to_owned()).source(error))?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| invalid("is not JSON".to_owned()).source(error))?;
    Ok(value.to_string())
}
