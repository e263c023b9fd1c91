//! Versions of instances' files. A tree is copied under its lock, so a writer needs no holding still.

use std::sync::PoisonError;

use async_trait::async_trait;
use hythe_runtime::snapshots::{SnapshotMount, SnapshotRequest, snapshot_of};
use hythe_runtime::{Error, ErrorKind, Identity, Image, InstanceRef, OpContext, Result, Snapshot, Snapshots};
use hythe_spec::{ImageRef, Platform};

use crate::Memory;
use crate::catalogue::Content;
use crate::images;

#[async_trait]
impl Snapshots for Memory {
    async fn commit(&self, cx: &OpContext, instance: &InstanceRef, request: &SnapshotRequest) -> Result<Snapshot> {
        self.engine.answer(cx, "snapshot-commit", async { commit(self, instance, request) }).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<Snapshot>> {
        self.engine.answer(cx, "snapshot-list", async { Ok(list(self)) }).await
    }

    async fn mounts(&self, cx: &OpContext, image: &ImageRef) -> Result<Vec<SnapshotMount>> {
        let act = async {
            let missing = || Error::new(ErrorKind::NotFound, "snapshot-mounts", format!("no snapshot `{image}`"));
            find(self, image).and_then(|(_, identity)| identity).ok_or_else(missing)?;
            let words = "the in-process runtime keeps no files on the host";
            Err(Error::new(ErrorKind::Unsupported, "snapshot-mounts", words))
        };
        self.engine.answer(cx, "snapshot-mounts", act).await
    }

    async fn remove(&self, cx: &OpContext, image: &ImageRef) -> Result<()> {
        let act = async {
            if let Some((_, None)) = find(self, image) {
                let words = format!("`{image}` is no snapshot");
                return Err(Error::new(ErrorKind::Conflict, "snapshot-remove", words));
            }
            images::remove(self, "snapshot-remove", image)
        };
        self.engine.answer(cx, "snapshot-remove", act).await
    }
}

/// An image, and whose files it holds where it is a snapshot.
fn find(memory: &Memory, image: &ImageRef) -> Option<(Image, Option<Identity>)> {
    let (image, content) = memory.engine.world().images.find(image)?;
    Some((image, snapshot_of(&content.config.labels)))
}

fn snapshot(image: &Image, name: String, identity: Identity) -> Snapshot {
    Snapshot { name, id: image.id.clone(), identity, size: image.size, created: image.created }
}

fn commit(memory: &Memory, instance: &InstanceRef, request: &SnapshotRequest) -> Result<Snapshot> {
    request.check_name()?;
    let SnapshotRequest { image: name, identity } = request;
    let mut world = memory.engine.world();
    if let Some((image, content)) = world.images.find(name) {
        request.check_held(&content.config.labels)?;
        return Ok(snapshot(&image, name.to_string(), identity.clone()));
    }
    let instance = world.find("snapshot-commit", instance)?;
    let tree = instance.root.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let platform = instance.plan.platform.clone().filter(|platform| *platform != Platform::own());
    let mut content = Content { config: instance.config.clone(), tree, platform };
    content.config.labels.extend(request.labels());
    let now = world.now();
    let image = world.images.add(content, name, now);
    memory.engine.events.report_image(&image.id, &name.to_string(), now, "commit");
    Ok(snapshot(&image, name.to_string(), identity.clone()))
}

fn list(memory: &Memory) -> Vec<Snapshot> {
    let images = memory.engine.world().images.named();
    let labelled = images.iter().filter_map(|image| Some((image, snapshot_of(&image.config.as_ref()?.labels)?)));
    let named = labelled.flat_map(|(image, identity)| {
        image.tags.iter().map(move |name| snapshot(image, name.clone(), identity.clone()))
    });
    let mut snapshots: Vec<Snapshot> = named.collect();
    snapshots.sort_by(|a, b| a.name.cmp(&b.name));
    snapshots
}
