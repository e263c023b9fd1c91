//! Versions of instances' files, as images of podman: `podman commit`, told what to undo of the instance's settings.

use std::sync::Arc;

use async_trait::async_trait;
use hythe_runtime::snapshots::{PREFIX, SnapshotMount, SnapshotRequest, instructions, snapshot_of};
use hythe_runtime::{
    Error, ErrorKind, ImageConfig, InstanceId, Observed, OpContext, Result, Runtime, Snapshot, Snapshots, State,
};
use hythe_spec::ImageRef;

use crate::client::{About, Invocation, withdrawn};
use crate::driver::Podman;
use crate::images::{GraphDriver, ImageDocument};
use crate::translate::native_image;

const COMMIT: &str = "snapshot-commit";
/// What podman gives to every container by itself.
const PODMANS_OWN: [&str; 4] = ["container", "HOME", "HOSTNAME", "TERM"];

#[async_trait]
impl Snapshots for Podman {
    async fn commit(&self, cx: &OpContext, id: &InstanceId, request: &SnapshotRequest) -> Result<Snapshot> {
        request.check_name()?;
        let name = native_image(&request.image);
        let about = About { operation: COMMIT, subject: &name };
        // Of two commits at once the later would take the name away from the other.
        let naming = withdrawn(cx, about, Arc::clone(&self.image_names).lock_owned()).await?;
        if let Some(held) = self.held(cx, request).await? {
            return Ok(held);
        }
        let instance = self.container(cx, About { operation: COMMIT, subject: &id.0 }).await?;
        let instance = self.observed(instance).await;
        let call = self.commit_call(cx, request, &name, &instance).await?;
        let about = About { operation: COMMIT, subject: &id.0 };
        let finished = self.client.act_holding(cx, about, call, naming).await;
        match finished.and_then(|finished| finished.success(about)) {
            Ok(_) => {}
            // It goes on, and thaws what it froze.
            Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
            Err(error) => {
                return Err(match self.thaw(cx, &instance).await {
                    Ok(()) => error,
                    Err(left) => error.with("left_behind", left),
                });
            }
        }
        let vanished = || Error::new(ErrorKind::Unavailable, COMMIT, format!("`{name}` is gone again"));
        self.held(cx, request).await?.ok_or_else(vanished)
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<Snapshot>> {
        let about = About { operation: "snapshot-list", subject: "podman" };
        let filter = format!("--filter=label={PREFIX}owner");
        let call = ["images", "--no-trunc", "--format=json", &filter];
        let found: Vec<ImageDocument> = self.client.listing(cx, about, call).await?;
        let mut snapshots: Vec<Snapshot> = found.into_iter().flat_map(told).collect();
        snapshots.sort_by(|a, b| a.name.cmp(&b.name));
        // Podman lists an image once for each of its names.
        snapshots.dedup();
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
                let words = format!("the image of `{}` is gone from podman", instance.name);
                Error::new(ErrorKind::Conflict, COMMIT, words).source(error)
            }
            _ => error,
        })?;
        let base = base.image().config.unwrap_or_default();
        let changes = instructions(request, &copied(instance, &base), &base);
        let mut args = vec!["commit".to_owned(), "--quiet".to_owned(), "--format=docker".to_owned()];
        // Without control groups of its own podman freezes nobody.
        args.push(format!("--pause={}", instance.state == State::Running && self.can_pause()));
        args.extend(changes.into_iter().map(|change| format!("--change={change}")));
        args.extend([instance.id.0.clone(), name.to_owned()]);
        Ok(args.into())
    }

    fn can_pause(&self) -> bool {
        !Runtime::info(self).rootless
    }

    /// A podman that was killed half-way leaves frozen what ran.
    async fn thaw(&self, cx: &OpContext, before: &Observed) -> Result<()> {
        if before.state != State::Running {
            return Ok(());
        }
        let about = About { operation: COMMIT, subject: &before.id.0 };
        let now = self.container(cx, about).await?;
        if self.observed(now).await.state != State::Paused {
            return Ok(());
        }
        self.client.act(cx, about, ["unpause", &before.id.0]).await?.success(about).map(drop)
    }
}

/// The settings that podman copies.
fn copied(instance: &Observed, base: &ImageConfig) -> ImageConfig {
    let given = |key: &String| instance.given_env.as_ref().is_some_and(|given| given.contains(key));
    let is_copied = |key: &String| base.env.contains_key(key) || given(key) || !PODMANS_OWN.contains(&key.as_str());
    let env = instance.env.iter().filter(|(key, _)| is_copied(key));
    ImageConfig {
        env: env.map(|(key, value)| (key.clone(), value.clone())).collect(),
        user: instance.user.clone(),
        workdir: instance.workdir.clone(),
        labels: instance.labels.clone(),
        ..ImageConfig::default()
    }
}

fn is_snapshot(document: &ImageDocument) -> bool {
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
