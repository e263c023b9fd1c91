//! Versions of instances' files, as images of podman: `podman commit`, told what to undo of the instance's settings.

use std::sync::Arc;

use async_trait::async_trait;
use hythe_runtime::podman::OWN_VARIABLES;
use hythe_runtime::snapshots::{PREFIX, SnapshotMount, SnapshotRequest, instructions, snapshot_of, unpaused_after};
use hythe_runtime::{
    Error, ErrorKind, ImageConfig, InstanceRef, Observed, OpContext, Result, Runtime, Snapshot, Snapshots, State,
};
use hythe_spec::ImageRef;

use crate::api_types::{GraphDriver, ImageDocument};
use crate::client::{About, filters, until_deadline};
use crate::driver::Podman;
use crate::program::Invocation;
use crate::translate::native_image;

const COMMIT: &str = "snapshot-commit";

#[async_trait]
impl Snapshots for Podman {
    async fn commit(&self, cx: &OpContext, instance: &InstanceRef, request: &SnapshotRequest) -> Result<Snapshot> {
        request.check_name()?;
        let name = native_image(&request.image);
        let about = About { operation: COMMIT, subject: &name };
        // Of two commits at once the later would take the name away from the other.
        let naming = until_deadline(cx, about, Arc::clone(&self.image_names).lock_owned()).await?;
        if let Some(held) = self.held(cx, request).await? {
            return Ok(held);
        }
        let observed = self.observed(self.container(cx, COMMIT, instance).await?).await;
        let call = self.commit_call(cx, request, &name, &observed).await?;
        let about = About { operation: COMMIT, subject: instance.as_str() };
        match self.program.run_to_end(cx, about, call, naming).await {
            Ok(()) => {}
            // It goes on, and thaws what it froze.
            Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Timeout) => return Err(error),
            Err(error) => {
                let now = async { Ok(self.container(cx, COMMIT, instance).await?.state()) };
                let unpause = self.unpause(cx, About { subject: &observed.id.0, ..about });
                return Err(unpaused_after(error, observed.state, now, unpause).await);
            }
        }
        let vanished =
            || Error::new(ErrorKind::Unavailable, COMMIT, format!("the image `{name}` is missing after the commit"));
        self.held(cx, request).await?.ok_or_else(vanished)
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<Snapshot>> {
        let about = About { operation: "snapshot-list", subject: "podman" };
        let filters = filters(&[("label", vec![format!("{PREFIX}owner")])]);
        let found: Vec<ImageDocument> =
            self.client.listing(cx, about, "/images/json", &[("filters", &filters)]).await?;
        let mut snapshots: Vec<Snapshot> = found.into_iter().flat_map(told).collect();
        snapshots.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(snapshots)
    }

    async fn mounts(&self, cx: &OpContext, image: &ImageRef) -> Result<Vec<SnapshotMount>> {
        let name = native_image(image);
        let about = About { operation: "snapshot-mounts", subject: &name };
        let document = self.image_document(cx, about).await?;
        if !is_snapshot(&document) {
            return Err(Error::new(ErrorKind::NotFound, about.operation, format!("`{name}` is no snapshot")));
        }
        let GraphDriver { name: driver, data } = document.graph_driver.unwrap_or_default();
        let told = data.as_ref().filter(|_| self.local.is_some() && driver == "overlay");
        SnapshotMount::of_graph_driver(told, "podman", &name)
    }

    async fn remove(&self, cx: &OpContext, image: &ImageRef) -> Result<()> {
        let name = native_image(image);
        let about = About { operation: "snapshot-remove", subject: &name };
        match self.image_document(cx, about).await {
            Err(error) if error.is_not_found() => Ok(()),
            Ok(document) if !is_snapshot(&document) => {
                Err(Error::new(ErrorKind::Conflict, about.operation, format!("`{name}` is no snapshot")))
            }
            found => {
                found?;
                self.remove_image(cx, about).await
            }
        }
    }
}

impl Podman {
    /// What has the name already, if that is this snapshot.
    async fn held(&self, cx: &OpContext, request: &SnapshotRequest) -> Result<Option<Snapshot>> {
        let name = native_image(&request.image);
        let document = match self.image_document(cx, About { operation: COMMIT, subject: &name }).await {
            Err(error) if error.is_not_found() => return Ok(None),
            found => found?,
        };
        request.check_held(document.labels.as_ref().unwrap_or(&Default::default()))?;
        Ok(told(document).into_iter().find(|snapshot| snapshot.name == name))
    }

    /// By podman's program: a service that ends with the agent in the middle of it would leave the instance paused.
    async fn commit_call(
        &self,
        cx: &OpContext,
        request: &SnapshotRequest,
        name: &str,
        instance: &Observed,
    ) -> Result<Invocation> {
        let image = instance.image_id.as_deref().unwrap_or(&instance.image);
        let base = self.image_document(cx, About { operation: COMMIT, subject: image }).await;
        let base = base.map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                let words = format!("the image of `{}` is missing in podman", instance.name);
                Error::new(ErrorKind::Conflict, COMMIT, words).source(error)
            }
            _ => error,
        })?;
        let base = base.image().config.unwrap_or_default();
        let mut changes = instructions(request, &copied(instance, &base), &base);
        // Podman 5 drops it.
        changes.extend(base.stop_signal.map(|signal| format!("STOPSIGNAL {}", signal.0)));
        // Docker's format has a second configuration, which Podman 5 fills with the container's whole environment.
        let mut args = vec!["commit".to_owned(), "--quiet".to_owned(), "--format=oci".to_owned()];
        // Without control groups of its own podman freezes nobody.
        args.push(format!("--pause={}", instance.state == State::Running && self.can_pause()));
        args.extend(changes.into_iter().map(|change| format!("--change={change}")));
        args.extend([instance.id.0.clone(), name.to_owned()]);
        Ok(args.into())
    }

    fn can_pause(&self) -> bool {
        !Runtime::info(self).rootless
    }
}

/// The settings that podman copies.
fn copied(instance: &Observed, base: &ImageConfig) -> ImageConfig {
    let given = |key: &String| instance.explicit_env.as_ref().is_some_and(|given| given.contains(key));
    let is_copied = |key: &String| base.env.contains_key(key) || given(key) || !OWN_VARIABLES.contains(&key.as_str());
    let env = instance.env.iter().filter(|(key, _)| is_copied(key));
    ImageConfig {
        env: env.map(|(key, value)| (key.clone(), value.clone())).collect(),
        user: instance.user.clone(),
        workdir: instance.workdir.clone(),
        labels: instance.labels.clone(),
        ..ImageConfig::default()
    }
}

pub(crate) fn is_snapshot(document: &ImageDocument) -> bool {
    document.labels.as_ref().and_then(snapshot_of).is_some()
}

/// A snapshot for each of an image's names.
fn told(document: ImageDocument) -> Vec<Snapshot> {
    let Some(identity) = document.labels.as_ref().and_then(snapshot_of) else { return Vec::new() };
    let image = document.image();
    let (id, size, created) = (image.id, image.size, image.created);
    let snapshot = |name| Snapshot { name, id: id.clone(), identity: identity.clone(), size, created };
    image.tags.into_iter().map(snapshot).collect()
}
