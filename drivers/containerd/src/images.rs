//! Images of the namespace.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use hythe_oci::Phase;
use hythe_runtime::context::run_blocking;
use hythe_runtime::snapshots::snapshot_of;
use hythe_runtime::{
    BuildOutput, BuildRequest, Error, ErrorKind, Image, Images, OpContext, Progress, ProgressSink, RemoteImage, Result,
};
use hythe_spec::{ImageRef, Platform};

use crate::api_types::{Filters, ImageRecord, ImageRecords};
use crate::content::{self, Stored};
use crate::context::Context;
use crate::driver::Containerd;
use crate::error::of_store;
use crate::image_load::{bring, name, staging, unname};
use crate::record::{self, Found};
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

async fn records(context: &Context, operation: &'static str) -> Result<Vec<ImageRecord>> {
    let request = Filters { filters: Vec::new() };
    let all: ImageRecords = context.client.call(operation, "images.v1.Images/List", &request).await?;
    Ok(all.images)
}

/// All images by manifest. What is no image of one platform, or vanishes meanwhile, is left out.
pub(crate) async fn all(context: &Context, operation: &'static str) -> Result<Vec<Stored>> {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in records(context, operation).await? {
        let Some(target) = record.target else { continue };
        names.entry(target.digest).or_default().push(record.name);
    }
    let mut images = Vec::new();
    for (manifest, names) in names {
        match content::stored(context, operation, &manifest, names).await {
            Ok(stored) => images.push(stored),
            Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error),
            Err(error) => tracing::debug!(%manifest, %error, "an image of containerd is left out"),
        }
    }
    Ok(images)
}

/// The image of a reference: by name, or by the digest of its manifest or configuration.
pub(crate) async fn get(context: &Context, operation: &'static str, image: &ImageRef) -> Result<Stored> {
    let absent = || {
        let message = format!("containerd has no image `{image}` in namespace `{}`", context.client.namespace());
        Error::new(ErrorKind::NotFound, operation, message).hint("pull or load it")
    };
    let wanted = image.to_string();
    let records = records(context, operation).await?;
    let by_name = records.iter().find(|record| record.name == wanted);
    if let Some(target) = by_name.and_then(|record| record.target.as_ref()) {
        let same = |record: &&ImageRecord| record.target.as_ref().is_some_and(|one| one.digest == target.digest);
        let names = records.iter().filter(same).map(|record| record.name.clone()).collect();
        return content::stored(context, operation, &target.digest, names).await;
    }
    let digest = image.digest.as_deref().ok_or_else(absent)?;
    let images = all(context, operation).await?;
    images.into_iter().find(|stored| stored.manifest == digest || stored.id == digest).ok_or_else(absent)
}

fn users<'a>(found: &'a [Found], id: &str) -> Vec<&'a str> {
    let uses = |found: &&Found| found.record.as_ref().is_some_and(|record| record.image_id == id);
    found.iter().filter(uses).map(Found::name).collect()
}

pub(crate) async fn remove(context: &Context, operation: &'static str, image: &ImageRef) -> Result<()> {
    // Nobody makes an instance of it meanwhile.
    let _lock = context.lock(operation).await?;
    let stored = match get(context, operation, image).await {
        Err(error) if error.is_not_found() => return Ok(()),
        found => found?,
    };
    let wanted = image.to_string();
    let is_name = stored.names.contains(&wanted);
    let found = record::all(context, operation).await?;
    let users = users(&found, &stored.id);
    if !users.is_empty() && (stored.names.len() <= 1 || !is_name) {
        let message = format!("image `{image}` is used by `{}`", users.join("`, `"));
        return Err(Error::new(ErrorKind::Conflict, operation, message));
    }
    let gone = if is_name { vec![wanted] } else { stored.names };
    for name in &gone {
        unname(context, operation, name).await?;
    }
    Ok(())
}

fn unsupported<T>(operation: &'static str, what: &str) -> Result<T> {
    let message = format!("{what} is not implemented for containerd yet");
    Err(Error::new(ErrorKind::Unsupported, operation, message).hint("use another runtime for it"))
}

/// What cannot be read is the archive's fault, unless the machine is.
fn of_archive(archive: &Path, error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::Internal | ErrorKind::Invalid => {
            let message = format!("`{}` cannot be loaded: {}", archive.display(), error.message());
            Error::new(ErrorKind::Invalid, "load", message).source(error)
        }
        _ => error,
    }
}

#[async_trait]
impl Images for Containerd {
    async fn pull(
        &self,
        cx: &OpContext,
        image: &ImageRef,
        platform: Option<&Platform>,
        progress: &ProgressSink,
    ) -> Result<Image> {
        let (context, image, platform) = (self.context.clone(), image.clone(), platform.cloned());
        let report = report(progress);
        let work = async move {
            let staging = staging(&context, "pull").await?;
            let read = staging.store.pull_for(&context.registry, &image, platform.as_ref(), report).await;
            let read = read.map_err(of_store("pull"))?;
            bring(&context, "pull", &staging, &read, &[image.to_string()]).await
        };
        cx.with_deadline("pull", work).await
    }

    async fn get(&self, cx: &OpContext, image: &ImageRef) -> Result<Image> {
        let stored = cx.with_deadline("image", get(&self.context, "image", image)).await?;
        Ok(image_of(&stored, true))
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<Image>> {
        let all = cx.with_deadline("images", all(&self.context, "images")).await?;
        let mut images: Vec<Image> = all.iter().map(|stored| image_of(stored, false)).collect();
        images.sort_by(|one, other| one.tags.cmp(&other.tags));
        Ok(images)
    }

    async fn remove(&self, cx: &OpContext, image: &ImageRef) -> Result<()> {
        let (context, image) = (self.context.clone(), image.clone());
        cx.run_detached("image remove", async move { remove(&context, "image remove", &image).await }).await
    }

    async fn unused(&self, cx: &OpContext) -> Result<Vec<Image>> {
        const OPERATION: &str = "images-unused";
        let context = &self.context;
        let look = async {
            let found = record::all(context, OPERATION).await?;
            Ok((all(context, OPERATION).await?, found))
        };
        let (all, found) = cx.with_deadline(OPERATION, look).await?;
        let is_free = |stored: &&Stored| {
            users(&found, &stored.id).is_empty() && snapshot_of(&config_of(&stored.config).labels).is_none()
        };
        let mut images: Vec<Image> = all.iter().filter(is_free).map(|stored| image_of(stored, false)).collect();
        images.sort_by(|one, other| (&one.tags, &one.id).cmp(&(&other.tags, &other.id)));
        Ok(images)
    }

    async fn discard(&self, cx: &OpContext, id: &str) -> Result<()> {
        const OPERATION: &str = "image-discard";
        // containerd removes an image with its last name: one without a tag has at most names by digest.
        let images = cx.with_deadline(OPERATION, all(&self.context, OPERATION)).await?;
        let Some(stored) = images.into_iter().find(|stored| stored.id == id) else { return Ok(()) };
        let conflict = |words: String| Err(Error::new(ErrorKind::Conflict, OPERATION, words));
        if let Some(tag) = stored.names.iter().find(|name| !name.contains('@')) {
            return conflict(format!("image `{id}` is called `{tag}`"));
        }
        let found = record::all(&self.context, OPERATION).await?;
        if let Some(user) = users(&found, id).first() {
            return conflict(format!("image `{id}` is used by `{user}`"));
        }
        for name in &stored.names {
            unname(&self.context, OPERATION, name).await?;
        }
        Ok(())
    }

    async fn tag(&self, cx: &OpContext, image: &ImageRef, new: &ImageRef) -> Result<()> {
        let (context, image, new) = (self.context.clone(), image.clone(), new.to_string());
        let work = async move {
            let stored = get(&context, "tag", &image).await?;
            let mut records = records(&context, "tag").await?.into_iter();
            let target = records.find_map(|record| record.target.filter(|target| target.digest == stored.manifest));
            let target = target.ok_or_else(|| Error::new(ErrorKind::NotFound, "tag", format!("no image `{image}`")))?;
            name(&context, "tag", &new, target).await
        };
        cx.run_detached("tag", work).await
    }

    async fn push(&self, _cx: &OpContext, _image: &ImageRef, _progress: &ProgressSink) -> Result<()> {
        unsupported("push", "pushing images")
    }

    async fn build(&self, _cx: &OpContext, _request: &BuildRequest, _: &ProgressSink) -> Result<BuildOutput> {
        unsupported("build", "building images")
    }

    async fn load(
        &self,
        cx: &OpContext,
        archive: &Path,
        name: Option<&ImageRef>,
        _progress: &ProgressSink,
    ) -> Result<Vec<Image>> {
        let (context, archive, name) = (self.context.clone(), archive.to_owned(), name.cloned());
        let work = async move {
            if let Err(error) = std::fs::File::open(&archive) {
                let message = format!("cannot read `{}`: {error}", archive.display());
                return Err(Error::new(ErrorKind::Invalid, "load", message).source(error));
            }
            if name.is_some() {
                let path = archive.clone();
                let check = move || hythe_oci::check_one_unnamed(&path).map_err(of_store("load"));
                run_blocking("load", check).await?;
            }
            let staging = staging(&context, "load").await?;
            let imported = staging.store.import(&archive, None).await.map_err(of_store("load"));
            let mut read = imported.map_err(|error| of_archive(&archive, error))?;
            if let (Some(name), Some(unnamed)) = (name, read.iter_mut().find(|image| image.names.is_empty())) {
                unnamed.names = vec![name.to_string()];
            }
            read.retain(|image| !image.names.is_empty());
            if read.is_empty() {
                let error = Error::new(ErrorKind::Invalid, "load", format!("`{}` names no image", archive.display()));
                return Err(error.hint("give it a name with `--name`"));
            }
            let mut images = Vec::new();
            for one in &read {
                images.push(bring(&context, "load", &staging, one, &one.names).await?);
            }
            Ok(images)
        };
        cx.with_deadline("load", work).await
    }

    async fn resolve(&self, cx: &OpContext, image: &ImageRef) -> Result<RemoteImage> {
        let resolve = async { self.context.registry.resolve(image).await.map_err(of_store("resolve")) };
        Ok(RemoteImage { digest: cx.with_deadline("resolve", resolve).await?.digest })
    }
}
