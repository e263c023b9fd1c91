//! Inspecting one container and listing all.

use std::sync::PoisonError;

use hythe_runtime::context::run_blocking;
use hythe_runtime::identity::ensure_owned;
use hythe_runtime::kernel_log::with_oom;
use hythe_runtime::podman::cgroup_scope;
use hythe_runtime::{Error, ErrorKind, Filter, InstanceRef, Listed, Observed, Result, State};

use crate::api_types::{Container, ContainerRow};
use crate::client::{filters, segment};
use crate::context::Context;
use crate::error::{listing, translate};
use crate::translate::{self, Engine};

impl Context {
    /// The container of that id or name, and none whose id merely begins like it.
    pub(crate) async fn container(&self, operation: &'static str, instance: &InstanceRef) -> Result<Container> {
        let named = instance.as_str();
        if named.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, operation, "an instance without a name does not exist"));
        }
        let path = format!("/containers/{}/json", segment(named));
        let found: Container = self.client.get(&path, &[]).await.map_err(|error| translate(operation, named, error))?;
        instance.exact(operation, &found.id, found.name.trim_start_matches('/'))?;
        Ok(found)
    }

    /// The same, if it is ours to change: it carries our labels, or it was adopted and is therefore named by its whole id.
    pub(crate) async fn own(&self, operation: &'static str, instance: &InstanceRef) -> Result<Container> {
        let container = self.container(operation, instance).await?;
        ensure_owned(operation, instance, &container.config.labels)?;
        Ok(container)
    }

    /// The id of that instance; no call where the caller has it.
    pub(crate) async fn whole_id(&self, operation: &'static str, instance: &InstanceRef) -> Result<String> {
        match instance {
            InstanceRef::Id(id) => Ok(id.0.clone()),
            InstanceRef::Name(_) => Ok(self.container(operation, instance).await?.id),
        }
    }

    pub(crate) async fn observe(&self, instance: &InstanceRef) -> Result<Observed> {
        let mut observed = translate::observed(self.container("inspect", instance).await?, self.engine);
        if self.is_stopping(&observed.id.0) && observed.state == State::Running {
            observed.state = State::Stopping;
        }
        if observed.state == State::Created && observed.exit.is_none() {
            observed.exit =
                self.failed_starts.lock().unwrap_or_else(PoisonError::into_inner).get(&observed.id.0).cloned();
        }
        if self.engine == Engine::Podman
            && self.local
            && let Some(exit) = observed.exit.clone()
        {
            let scope = cgroup_scope(&observed.id.0);
            observed.exit = Some(run_blocking("inspect", move || Ok(with_oom(exit, &scope))).await?);
        }
        Ok(observed)
    }

    pub(crate) async fn list(&self, filter: &Filter) -> Result<Vec<Listed>> {
        let labels: Vec<String> = filter.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let filters = filters(&[("label", labels)]);
        let rows: Vec<ContainerRow> = self
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
        let rows =
            self.client.get::<Vec<ContainerRow>>("/containers/json", &[("all", "1"), ("filters", &filters)]).await;
        let rows = rows.map_err(|error| translate(operation, name, error))?;
        let mut names: Vec<String> = rows.into_iter().map(|row| translate::listed(row).name).collect();
        names.sort();
        Ok(names)
    }

    fn is_stopping(&self, id: &str) -> bool {
        self.stopping.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }
}
