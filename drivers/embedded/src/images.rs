//! Images: the store of `hythe_oci`.

use std::path::Path;

use async_trait::async_trait;
use hythe_oci::{Phase, Stored};
use hythe_runtime::context::run_blocking;
use hythe_runtime::snapshots::snapshot_of;
use hythe_runtime::{
    BuildOutput, BuildRequest, Error, ErrorKind, Image, Images, OpContext, Progress, ProgressSink, RemoteImage, Result,
};
use hythe_spec::{ImageRef, Platform};

use crate::context::Context;
use crate::driver::Embedded;
use crate::error::of_store;
use crate::instances::Record;
use crate::translate::{config_of, image_of};

fn report(sink: &ProgressSink) -> impl Fn(hythe_oci::Progress) + Send + Sync + use<> {
    let sink = sink.clone();
    move |progress| {
        let status = match progress.phase {
            Phase::Transferring => "transferring",
            Phase::Unpacking => "extracting",
            Phase::Done => "done",
        };
        let digits = progress.layer.split_once(':').map_or(progress.layer.as_str(), |(_, digits)| digits);
        let item = digits.chars().take(12).collect();
        let (current, total) = (Some(progress.current), Some(progress.total));
        // A full channel drops the report.
        let _ = sink.try_send(Progress { item, status: status.to_owned(), current, total });
    }
}

impl Embedded {
    /// Removes a name, and the image with its last one, if it passes the check.
    pub(crate) async fn remove_image(
        &self,
        cx: &OpContext,
        operation: &'static str,
        image: &ImageRef,
        check: impl FnOnce(&Stored) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let (context, image) = (self.context.clone(), image.clone());
        let work = run_blocking(operation, move || {
            // Nobody makes an instance of it meanwhile.
            let _lock = context.instances.lock(operation)?;
            let stored = match context.store.get(&image) {
                Ok(stored) => stored,
                Err(error) if error.kind() == hythe_oci::Kind::NotFound => return Ok(None),
                Err(error) => return Err(of_store(operation)(error)),
            };
            check(&stored)?;
            let records = context.instances.all(operation)?;
            let users: Vec<&str> = records
                .iter()
                .filter(|record| record.image_id == stored.id)
                .map(|record| record.name.as_str())
                .collect();
            if !users.is_empty() && stored.names.len() <= 1 {
                let message = format!("image `{image}` is used by `{}`", users.join("`, `"));
                return Err(Error::new(ErrorKind::Conflict, operation, message));
            }
            context.store.remove(&image).map_err(of_store(operation))?;
            sweep(&context, operation, &records, Some(&stored.id))?;
            Ok(Some(stored.id))
        });
        if let Some(id) = cx.run_detached(operation, work).await? {
            self.context.image_event(&id, "remove");
        }
        Ok(())
    }
}

/// Removes content that neither an image nor one of these instances, which are all there are, stands on. Images without a name stay too, but for
/// the one that is gone: others are collected by age.
pub(crate) fn sweep(context: &Context, operation: &'static str, records: &[Record], gone: Option<&str>) -> Result<()> {
    let images = context.store.list().map_err(of_store(operation))?;
    let unnamed: Vec<&str> = images
        .iter()
        .filter(|image| image.names.is_empty() && Some(image.id.as_str()) != gone)
        .map(|image| image.digest.as_str())
        .collect();
    let in_use = |key: &str| {
        let bare = |text: &str| text.strip_prefix("sha256:").unwrap_or(text).to_owned();
        let used = records.iter().any(|record| {
            let mut keys = record.chains.iter().chain([&record.image_id, &record.manifest]);
            keys.any(|known| bare(known) == bare(key))
        });
        used || unnamed.contains(&key)
    };
    context.store.gc(in_use).map(drop).map_err(of_store(operation))
}

/// Removes an image that neither a tag nor an instance holds; whether it was there.
fn discard(context: &Context, operation: &'static str, id: &str) -> Result<bool> {
    // Nobody makes an instance of it meanwhile.
    let _lock = context.instances.lock(operation)?;
    let images = context.store.list().map_err(of_store(operation))?;
    let conflict = |words: String| Err(Error::new(ErrorKind::Conflict, operation, words));
    let found: Vec<&Stored> = images.iter().filter(|stored| stored.id == id).collect();
    if let Some(tag) = found.iter().flat_map(|stored| &stored.names).find(|name| !name.contains('@')) {
        return conflict(format!("image `{id}` is called `{tag}`"));
    }
    let records = context.instances.all(operation)?;
    if let Some(user) = records.iter().find(|record| record.image_id == id) {
        return conflict(format!("image `{id}` is used by `{}`", user.name));
    }
    for stored in &found {
        context.store.unname(&stored.digest).map_err(of_store(operation))?;
    }
    if !found.is_empty() {
        sweep(context, operation, &records, Some(id))?;
    }
    Ok(!found.is_empty())
}

#[async_trait]
impl Images for Embedded {
    async fn pull(
        &self,
        cx: &OpContext,
        image: &ImageRef,
        platform: Option<&Platform>,
        progress: &ProgressSink,
    ) -> Result<Image> {
        let pull = self.context.store.pull_for(&self.context.registry, image, platform, report(progress));
        let stored = cx.with_deadline("pull", async { pull.await.map_err(of_store("pull")) }).await?;
        self.context.image_event(&stored.id, "pull");
        Ok(image_of(&stored, true))
    }

    async fn get(&self, cx: &OpContext, image: &ImageRef) -> Result<Image> {
        let (context, image) = (self.context.clone(), image.clone());
        let get = run_blocking("image", move || {
            context.instances.reachable("image")?;
            context.store.get(&image).map_err(of_store("image"))
        });
        Ok(image_of(&cx.with_deadline("image", get).await?, true))
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<Image>> {
        let context = self.context.clone();
        let list = run_blocking("images", move || {
            context.instances.reachable("images")?;
            context.store.list().map_err(of_store("images"))
        });
        let all = cx.with_deadline("images", list).await?;
        let mut images: Vec<Image> =
            all.iter().filter(|stored| !stored.names.is_empty()).map(|stored| image_of(stored, false)).collect();
        images.sort_by(|one, other| one.tags.cmp(&other.tags));
        Ok(images)
    }

    async fn remove(&self, cx: &OpContext, image: &ImageRef) -> Result<()> {
        self.remove_image(cx, "image remove", image, |_| Ok(())).await
    }

    async fn unused(&self, cx: &OpContext) -> Result<Vec<Image>> {
        const OPERATION: &str = "images-unused";
        let context = self.context.clone();
        let look = run_blocking(OPERATION, move || {
            context.instances.reachable(OPERATION)?;
            let images = context.store.list().map_err(of_store(OPERATION))?;
            let records = context.instances.all(OPERATION)?;
            let is_free = |stored: &Stored| {
                records.iter().all(|record| record.image_id != stored.id)
                    && snapshot_of(&config_of(stored).labels).is_none()
            };
            Ok(images.iter().filter(|stored| is_free(stored)).map(|stored| image_of(stored, false)).collect())
        });
        let mut images: Vec<Image> = cx.with_deadline(OPERATION, look).await?;
        images.sort_by(|one, other| (&one.tags, &one.id).cmp(&(&other.tags, &other.id)));
        Ok(images)
    }

    async fn discard(&self, cx: &OpContext, id: &str) -> Result<()> {
        const OPERATION: &str = "image-discard";
        let (context, wanted) = (self.context.clone(), id.to_owned());
        let work = run_blocking(OPERATION, move || discard(&context, OPERATION, &wanted));
        if cx.run_detached(OPERATION, work).await? {
            self.context.image_event(id, "remove");
        }
        Ok(())
    }

    async fn tag(&self, cx: &OpContext, image: &ImageRef, name: &ImageRef) -> Result<()> {
        let (store, image, name) = (self.context.store.clone(), image.clone(), name.clone());
        let work = run_blocking("image tag", move || {
            store.tag(&image, &name).map_err(of_store("image tag"))?;
            store.get(&image).map_err(of_store("image tag"))
        });
        let stored = cx.run_detached("image tag", work).await?;
        self.context.image_event(&stored.id, "tag");
        Ok(())
    }

    async fn push(&self, cx: &OpContext, image: &ImageRef, progress: &ProgressSink) -> Result<()> {
        let push = self.context.store.push(&self.context.registry, image, report(progress));
        cx.with_deadline("push", async { push.await.map(drop).map_err(of_store("push")) }).await
    }

    async fn build(&self, cx: &OpContext, request: &BuildRequest, progress: &ProgressSink) -> Result<BuildOutput> {
        let stored = cx.with_deadline("build", crate::build::build(self, request, progress)).await?;
        self.context.image_event(&stored.id, "build");
        Ok(BuildOutput { id: stored.id })
    }

    async fn load(
        &self,
        cx: &OpContext,
        archive: &Path,
        name: Option<&ImageRef>,
        _progress: &ProgressSink,
    ) -> Result<Vec<Image>> {
        self.load_archive(cx, archive, name).await
    }

    async fn resolve(&self, cx: &OpContext, image: &ImageRef) -> Result<RemoteImage> {
        let resolve = self.context.registry.resolve(image);
        let found = cx.with_deadline("resolve", async { resolve.await.map_err(of_store("resolve")) }).await?;
        Ok(RemoteImage { digest: found.digest })
    }
}
