//! Images in the engine and at the registries of the configuration.

use std::path::Path;

use async_trait::async_trait;
use hythe_runtime::snapshots::snapshot_of;
use hythe_runtime::{
    BuildOutput, BuildRequest, Error, ErrorKind, Image, Images, OpContext, Progress, ProgressSink, RemoteImage, Result,
};
use hythe_spec::{ImageRef, Platform};

use crate::Memory;
use crate::catalogue::{Content, RegistryAnswer};
use crate::{dockerfile, image_load};

#[async_trait]
impl Images for Memory {
    async fn pull(
        &self,
        cx: &OpContext,
        image: &ImageRef,
        platform: Option<&Platform>,
        progress: &ProgressSink,
    ) -> Result<Image> {
        self.engine.answer(cx, "pull", async { pull(self, image, platform, progress) }).await
    }

    async fn get(&self, cx: &OpContext, image: &ImageRef) -> Result<Image> {
        self.engine.answer(cx, "image", async { Ok(local(self, "image", image)?.0) }).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<Image>> {
        self.engine.answer(cx, "images", async { Ok(self.engine.world().images.named()) }).await
    }

    async fn remove(&self, cx: &OpContext, image: &ImageRef) -> Result<()> {
        self.engine.answer(cx, "image-remove", async { remove(self, "image-remove", image) }).await
    }

    async fn unused(&self, cx: &OpContext) -> Result<Vec<Image>> {
        self.engine.answer(cx, "images-unused", async { Ok(unused(self)) }).await
    }

    async fn discard(&self, cx: &OpContext, id: &str) -> Result<()> {
        self.engine.answer(cx, "image-discard", async { discard(self, id) }).await
    }

    async fn tag(&self, cx: &OpContext, image: &ImageRef, name: &ImageRef) -> Result<()> {
        let act = async {
            let (_, content) = local(self, "tag", image)?;
            store(self, content, name, "tag");
            Ok(())
        };
        self.engine.answer(cx, "tag", act).await
    }

    async fn push(&self, cx: &OpContext, image: &ImageRef, progress: &ProgressSink) -> Result<()> {
        self.engine.answer(cx, "push", async { push(self, image, progress) }).await
    }

    async fn build(&self, cx: &OpContext, request: &BuildRequest, progress: &ProgressSink) -> Result<BuildOutput> {
        let act = async {
            let content = dockerfile::build(self, request, progress).await?;
            let id = content.id();
            store(self, content, &request.image, "build");
            Ok(BuildOutput { id })
        };
        self.engine.answer(cx, "build", act).await
    }

    async fn load(
        &self,
        cx: &OpContext,
        archive: &Path,
        name: Option<&ImageRef>,
        progress: &ProgressSink,
    ) -> Result<Vec<Image>> {
        let act = async {
            let mut images = Vec::new();
            for (content, names) in image_load::read(archive, name)? {
                for name in &names {
                    report(progress, &name.to_string(), "done", None);
                    store(self, content.clone(), name, "load");
                }
                images.extend(names.first().map(|name| local(self, "load", name)).transpose()?.map(|(image, _)| image));
            }
            Ok(images)
        };
        self.engine.answer(cx, "load", act).await
    }

    async fn resolve(&self, cx: &OpContext, image: &ImageRef) -> Result<RemoteImage> {
        let act = async {
            let answer = self.engine.world().images.ask(image);
            Ok(RemoteImage { digest: found("resolve", image, answer)?.digest() })
        };
        self.engine.answer(cx, "resolve", act).await
    }
}

fn local(memory: &Memory, operation: &'static str, image: &ImageRef) -> Result<(Image, Content)> {
    let found = memory.engine.world().images.find(image);
    found.ok_or_else(|| Error::new(ErrorKind::NotFound, operation, format!("no image `{image}`")))
}

/// The content an image of the engine has, for builds.
pub(crate) fn content(memory: &Memory, operation: &'static str, image: &ImageRef) -> Result<Content> {
    local(memory, operation, image).map(|(_, content)| content)
}

fn store(memory: &Memory, content: Content, name: &ImageRef, action: &str) -> Image {
    let mut world = memory.engine.world();
    let now = world.now();
    let image = world.images.add(content, name, now);
    memory.engine.events.report_image(&image.id, &name.to_string(), now, action);
    image
}

fn found<T>(operation: &'static str, image: &ImageRef, answer: RegistryAnswer<T>) -> Result<T> {
    let error = |kind, words: String| Err(Error::new(kind, operation, words));
    match answer {
        RegistryAnswer::Found(found) => Ok(found),
        RegistryAnswer::Absent => error(ErrorKind::NotFound, format!("the registry has no `{image}`")),
        RegistryAnswer::Refused => {
            error(ErrorKind::Unauthorized, format!("the registry `{}` refuses the credentials", image.domain))
        }
        RegistryAnswer::Unreachable => {
            error(ErrorKind::Unavailable, format!("the registry `{}` cannot be reached", image.domain))
        }
    }
}

pub(crate) fn report(progress: &ProgressSink, item: &str, status: &str, bytes: Option<u64>) {
    let report = Progress { item: item.to_owned(), status: status.to_owned(), current: bytes, total: bytes };
    // A full or closed channel drops the report.
    let _ = progress.try_send(report);
}

fn pull(memory: &Memory, image: &ImageRef, platform: Option<&Platform>, progress: &ProgressSink) -> Result<Image> {
    let answer = memory.engine.world().images.ask(image);
    let mut content = found("pull", image, answer)?;
    // Every image is available for every platform.
    content.platform = platform.cloned().filter(|platform| *platform != Platform::own());
    let (item, size) = (content.digest()[7..19].to_owned(), content.tree.size());
    report(progress, &item, "downloading", Some(size));
    store(memory, content, image, "pull");
    let mut world = memory.engine.world();
    if let Some((stored, _)) = world.images.find(image) {
        world.images.know_digest(&stored.id, image);
    }
    drop(world);
    report(progress, &item, "done", Some(size));
    local(memory, "pull", image).map(|(image, _)| image)
}

fn push(memory: &Memory, image: &ImageRef, progress: &ProgressSink) -> Result<()> {
    let (stored, content) = local(memory, "push", image)?;
    let mut world = memory.engine.world();
    let answer = world.images.upload(image, content);
    found("push", image, answer)?;
    world.images.know_digest(&stored.id, image);
    report(progress, &stored.id, "done", Some(stored.size));
    Ok(())
}

/// Removes a name that no instance uses.
pub(crate) fn remove(memory: &Memory, operation: &'static str, image: &ImageRef) -> Result<()> {
    let mut world = memory.engine.world();
    let Some((found, _)) = world.images.find(image) else { return Ok(()) };
    let users: Vec<String> = world
        .instances
        .values()
        .filter(|i| i.image_id == found.id && i.plan.image == *image)
        .map(|i| i.name.clone())
        .collect();
    if !users.is_empty() {
        let words = format!("image `{image}` is used by `{}`", users.join("`, `"));
        return Err(Error::new(ErrorKind::Conflict, operation, words));
    }
    let now = world.now();
    world.images.remove_name(image);
    memory.engine.events.report_image(&found.id, &image.to_string(), now, "remove");
    Ok(())
}

fn unused(memory: &Memory) -> Vec<Image> {
    let world = memory.engine.world();
    let used = |id: &str| world.instances.values().any(|instance| instance.image_id == id);
    world.images.all().into_iter().filter(|image| !used(&image.id) && !is_snapshot(image)).collect()
}

fn is_snapshot(image: &Image) -> bool {
    image.config.as_ref().is_some_and(|config| snapshot_of(&config.labels).is_some())
}

/// Removes an image without a tag that no instance uses.
fn discard(memory: &Memory, id: &str) -> Result<()> {
    let mut world = memory.engine.world();
    let Some(found) = world.images.all().into_iter().find(|image| image.id == id) else { return Ok(()) };
    let users: Vec<&str> =
        world.instances.values().filter(|i| i.image_id == id).map(|instance| instance.name.as_str()).collect();
    let conflict = |words: String| Err(Error::new(ErrorKind::Conflict, "image-discard", words));
    if !users.is_empty() {
        return conflict(format!("image `{id}` is used by `{}`", users.join("`, `")));
    }
    if !found.tags.is_empty() {
        return conflict(format!("image `{id}` is called `{}`", found.tags.join("`, `")));
    }
    let now = world.now();
    world.images.forget(id);
    memory.engine.events.report_image(id, id, now, "remove");
    Ok(())
}
