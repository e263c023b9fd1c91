//! Inspecting one instance and listing all, with what this host knows beyond podman's answer.

use std::collections::BTreeMap;

use hythe_runtime::kernel_log::with_oom;
use hythe_runtime::podman::cgroup_scope;
use hythe_runtime::{Exit, Filter, InstanceRef, Listed, Observed, OpContext, Result, State};
use jiff::Timestamp;

use crate::api_types::{Container, ContainerRow};
use crate::client::{About, filters, segment};
use crate::driver::Podman;
use crate::{cgroup_limits, start_error};

impl Podman {
    /// The full document of one container, never of an image of that name.
    pub(crate) async fn container(
        &self,
        cx: &OpContext,
        operation: &'static str,
        instance: &InstanceRef,
    ) -> Result<Container> {
        let about = About { operation, subject: instance.as_str() };
        let path = format!("/containers/{}/json", segment(about.subject));
        let found: Container = self.client.get(cx, about, &path, &[]).await?;
        instance.exact(operation, &found.id, &found.name)?;
        Ok(found)
    }

    /// The document in the seam's words, with what this host knows beyond it.
    pub(crate) async fn observed(&self, container: Container) -> Observed {
        let exit = self.exit(&container).await;
        let cgroup = container.state.cgroup_path.clone();
        let mut observed = container.observed(exit);
        if self.local.is_some() && matches!(observed.state, State::Running | State::Paused) {
            let read = tokio::task::spawn_blocking(move || cgroup_limits::in_force(&cgroup)).await;
            read.unwrap_or_default().apply(&mut observed);
        }
        observed
    }

    async fn exit(&self, container: &Container) -> Option<Exit> {
        self.local.as_ref()?;
        let (state, log, id, exit) =
            (container.state(), container.runtime_log(), container.id.clone(), container.exit());
        let found = tokio::task::spawn_blocking(move || match exit {
            Some(exit) => Some(with_oom(exit, &cgroup_scope(&id))),
            None if state == State::Created => start_error::failed_start(&log?),
            None => None,
        });
        found.await.ok().flatten().or_else(|| container.exit())
    }

    pub(crate) async fn list_instances(&self, cx: &OpContext, filter: &Filter) -> Result<Vec<Listed>> {
        let about = About { operation: "list", subject: "podman" };
        let labels = filter.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let filters = filters(&[("label", labels)]);
        let query = [("all", "true"), ("filters", &*filters)];
        let rows: Vec<ContainerRow> = self.client.listing(cx, about, "/containers/json", &query).await?;
        let mut listed: Vec<Listed> =
            rows.into_iter().map(ContainerRow::listed).filter(|row| carries(&row.labels, &filter.labels)).collect();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }
}

impl Container {
    /// When the monitor of its last run began, before the first output of its main process; podman notes its own time of
    /// starting only after that. Reads the time of a file.
    pub(crate) fn monitored(&self) -> Option<Timestamp> {
        let written = std::fs::metadata(&self.conmon_pid_file).and_then(|file| file.modified()).ok()?;
        Timestamp::try_from(written).ok()
    }
}

fn carries(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}
