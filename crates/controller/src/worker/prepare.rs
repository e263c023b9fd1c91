//! What must be there before an instance can be: dependencies, image, networks, volumes.

use std::collections::BTreeMap;
use std::sync::Arc;

use hythe_runtime::identity::{OWNER, SERVICE};
use hythe_runtime::{Error, ErrorKind, NetworkSpec, Plan, PlanNetwork, Progress, Runtime, VolumeSpec};
use hythe_spec::{Condition, ImageRef, MountSource, Network};
use hythe_store::{Desired, DesiredRecord, HealthState, Phase};
use serde_json::json;
use tokio::sync::mpsc;

use super::Worker;
use crate::directory::Cell;
use crate::operation::Report;

impl Worker {
    pub(super) async fn make_networks(&self, runtime: &Arc<dyn Runtime>, plan: &Plan) -> Result<(), Error> {
        let own = self.desired().recipe.component.network == Network::Service;
        let (PlanNetwork::Bridged { attachments }, Some(networks), true) = (&plan.network, runtime.networks(), own)
        else {
            return Ok(());
        };
        for attachment in attachments {
            let spec = NetworkSpec { name: attachment.network.clone(), labels: self.own_labels(), internal: false };
            networks.ensure(&self.context(), &spec).await?;
        }
        Ok(())
    }

    pub(super) async fn make_volumes(&self, runtime: &Arc<dyn Runtime>, desired: &DesiredRecord) -> Result<(), Error> {
        let Some(volumes) = runtime.volumes() else {
            return Ok(());
        };
        for mount in &desired.recipe.component.mounts {
            if let MountSource::Volume { name, external: false } = &mount.source {
                let name = hythe_runtime::plan::volume_name(&desired.service, name);
                volumes.ensure(&self.context(), &VolumeSpec { name, labels: self.own_labels() }).await?;
            }
        }
        Ok(())
    }

    pub(super) fn own_labels(&self) -> BTreeMap<String, String> {
        let owner = self.controller.settings.owner.clone();
        BTreeMap::from([(OWNER.to_owned(), owner), (SERVICE.to_owned(), self.desired().service)])
    }

    pub(super) async fn pull_if_absent(&mut self, runtime: &Arc<dyn Runtime>, image: &ImageRef) -> Result<(), Error> {
        let Some(images) = runtime.images() else {
            return Ok(());
        };
        match images.get(&self.context(), image).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        self.update(Vec::new(), |observed| observed.phase = Phase::Pulling)?;
        self.phase("pulling", format!("pulling {image}"));
        let (sink, reports) = mpsc::channel(64);
        let telling = self.tell_pull(reports);
        let (pulled, ()) = tokio::join!(
            async {
                self.controller.pass("pull.intended").await;
                let pulled = images.pull(&self.context(), image, &sink).await;
                self.controller.pass("pull.acted").await;
                drop(sink);
                pulled
            },
            telling
        );
        let event = self.event("image.pulled", format!("pulled {image}"), json!({ "image": image }));
        pulled.map_err(|error| match error.next_step() {
            None if error.is_not_found() => {
                error.hint("check the image's name, or describe its build in `[build.images]`")
            }
            _ => error,
        })?;
        self.update(vec![event], |observed| observed.phase = Phase::Starting)?;
        self.controller.pass("pull.stored").await;
        Ok(())
    }

    pub(super) async fn tell_pull(&self, mut reports: mpsc::Receiver<Progress>) {
        let name = self.desired().name;
        while let Some(progress) = reports.recv().await {
            if let Some(request) = &self.request {
                request.operation.report(Report {
                    workload: Some(name.clone()),
                    phase: "pulling",
                    item: progress.item,
                    message: progress.status,
                    current: progress.current,
                    total: progress.total,
                });
            }
        }
    }

    /// Waits until every dependency is as far as it must be.
    pub(super) async fn wait_for_dependencies(&self, desired: &DesiredRecord) -> Result<(), Error> {
        for (name, condition) in &desired.recipe.component.depends_on {
            let workload = hythe_spec::service::workload_name(&desired.service, name);
            let Some(handle) = self.controller.directory.get(&workload) else {
                return Err(Error::new(ErrorKind::Invalid, "depend", format!("`{workload}` is not deployed")));
            };
            let mut cell = handle.cell.subscribe();
            if !matches!(progress_of(&cell.borrow(), *condition), Some(Ok(()))) {
                self.phase("waiting", format!("waiting for {name}"));
            }
            let reached = cell.wait_for(|cell| progress_of(cell, *condition).is_some()).await;
            let outcome = reached.ok().and_then(|cell| progress_of(&cell, *condition));
            if let Some(Err(reason)) = outcome {
                return Err(Error::new(ErrorKind::Conflict, "depend", format!("its dependency `{name}` {reason}")));
            }
        }
        Ok(())
    }
}

/// How far a dependency is: `None` not yet, else reached or why it never will be.
fn progress_of(cell: &Cell, condition: Condition) -> Option<Result<(), String>> {
    let observed = &cell.observed;
    let up_to_date = observed.current.as_ref().is_some_and(|current| current.generation == cell.desired.generation)
        || observed.gave_up == Some(cell.desired.generation);
    if cell.desired.desired != Desired::Running {
        return Some(Err("is stopped".to_owned()));
    }
    match (observed.phase, condition) {
        (Phase::Failed, _) => {
            Some(Err(format!("failed: {}", observed.message.as_deref().unwrap_or("no reason known"))))
        }
        _ if !up_to_date => None,
        (Phase::Completed, Condition::Completed | Condition::Started) => Some(Ok(())),
        (Phase::Completed, Condition::Healthy) => Some(Err("has ended".to_owned())),
        (Phase::Running, Condition::Started) => Some(Ok(())),
        (Phase::Running, Condition::Healthy) if observed.health == HealthState::Healthy => Some(Ok(())),
        (Phase::Running, Condition::Healthy) if observed.health == HealthState::Unhealthy => {
            Some(Err("is not healthy".to_owned()))
        }
        _ => None,
    }
}
