//! Images: the store of `hythe_oci`.

use std::path::Path;

use async_trait::async_trait;
use hythe_oci::{Phase, Stored};
use hythe_runtime::{
    BuildOutput, BuildRequest, Error, ErrorKind, Image, ImageConfig, Images, OpContext, Progress, ProgressSink,
    RemoteImage, Result,
};
use hythe_spec::ImageRef;

use crate::core::Core;
use crate::driver::Embedded;
use crate::error::{blocking, bounded, carried, of_store};
use crate::instances::Record;

/// What an image says of its process.
pub(crate) fn config_of(image: &Stored) -> ImageConfig {
    let Some(config) = image.config.config() else { return ImageConfig::default() };
    let env = config.env().iter().flatten().filter_map(|line| line.split_once('='));
    ImageConfig {
        entrypoint: config.entrypoint().clone().unwrap_or_default(),
        command: config.cmd().clone().unwrap_or_default(),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        user: config.user().clone().filter(|user| !user.is_empty()),
        workdir: config.working_dir().clone().filter(|path| !path.is_empty()),
        stop_signal: config.stop_signal().as_ref().and_then(|signal| signal.parse().ok()),
        labels: config.labels().clone().unwrap_or_default().into_iter().collect(),
    }
}

fn image_of(stored: &Stored, with_config: bool) -> Image {
    let references = stored.names.iter().filter_map(|name| name.parse::<ImageRef>().ok());
    let mut digests: Vec<String> = references
        .map(|name| format!("{}@{}", name.repository(), stored.index.as_ref().unwrap_or(&stored.digest)))
        .collect();
    digests.sort();
    digests.dedup();
    Image {
        id: stored.id.clone(),
        tags: stored.names.iter().filter(|name| !name.contains('@')).cloned().collect(),
        digests,
        size: stored.size,
        created: stored.config.created().as_ref().and_then(|time| time.parse().ok()),
        config: with_config.then(|| config_of(stored)),
    }
}

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
        let (core, image) = (self.core.clone(), image.clone());
        let work = blocking(operation, move || {
            // Nobody makes an instance of it meanwhile.
            let _turn = core.instances.turn(operation)?;
            let stored = match core.store.get(&image) {
                Ok(stored) => stored,
                Err(error) if error.kind() == hythe_oci::Kind::NotFound => return Ok(None),
                Err(error) => return Err(of_store(operation)(error)),
            };
            check(&stored)?;
            let records = core.instances.all(operation)?;
            let users: Vec<&str> = records
                .iter()
                .filter(|record| record.image_id == stored.id)
                .map(|record| record.name.as_str())
                .collect();
            if !users.is_empty() && stored.names.len() <= 1 {
                let message = format!("image `{image}` is used by `{}`", users.join("`, `"));
                return Err(Error::new(ErrorKind::Conflict, operation, message));
            }
            core.store.remove(&image).map_err(of_store(operation))?;
            sweep(&core, operation, &records)?;
            Ok(Some(stored.id))
        });
        if let Some(id) = carried(cx, operation, work).await? {
            self.core.image_event(&id, "remove");
        }
        Ok(())
    }
}

/// Removes content that neither an image nor one of these instances, which are all there are, stands on.
pub(crate) fn sweep(core: &Core, operation: &'static str, records: &[Record]) -> Result<()> {
    let in_use = |key: &str| {
        let bare = |text: &str| text.strip_prefix("sha256:").unwrap_or(text).to_owned();
        records.iter().any(|record| {
            let mut keys = record.chains.iter().chain([&record.image_id, &record.manifest]);
            keys.any(|known| bare(known) == bare(key))
        })
    };
    core.store.gc(in_use).map(drop).map_err(of_store(operation))
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
impl Images for Embedded {
    async fn pull(&self, cx: &OpContext, image: &ImageRef, progress: &ProgressSink) -> Result<Image> {
        let pull = self.core.store.pull(&self.core.registry, image, report(progress));
        let stored = bounded(cx, "pull", async { pull.await.map_err(of_store("pull")) }).await?;
        self.core.image_event(&stored.id, "pull");
        Ok(image_of(&stored, true))
    }

    async fn get(&self, cx: &OpContext, image: &ImageRef) -> Result<Image> {
        let (core, image) = (self.core.clone(), image.clone());
        let get = blocking("image", move || {
            core.instances.reachable("image")?;
            core.store.get(&image).map_err(of_store("image"))
        });
        Ok(image_of(&bounded(cx, "image", get).await?, true))
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<Image>> {
        let core = self.core.clone();
        let list = blocking("images", move || {
            core.instances.reachable("images")?;
            core.store.list().map_err(of_store("images"))
        });
        let all = bounded(cx, "images", list).await?;
        let mut images: Vec<Image> =
            all.iter().filter(|stored| !stored.names.is_empty()).map(|stored| image_of(stored, false)).collect();
        images.sort_by(|one, other| one.tags.cmp(&other.tags));
        Ok(images)
    }

    async fn remove(&self, cx: &OpContext, image: &ImageRef) -> Result<()> {
        self.remove_image(cx, "image remove", image, |_| Ok(())).await
    }

    async fn tag(&self, cx: &OpContext, image: &ImageRef, name: &ImageRef) -> Result<()> {
        let (store, image, name) = (self.core.store.clone(), image.clone(), name.clone());
        let work = blocking("image tag", move || {
            store.tag(&image, &name).map_err(of_store("image tag"))?;
            store.get(&image).map_err(of_store("image tag"))
        });
        let stored = carried(cx, "image tag", work).await?;
        self.core.image_event(&stored.id, "tag");
        Ok(())
    }

    async fn push(&self, cx: &OpContext, image: &ImageRef, progress: &ProgressSink) -> Result<()> {
        let push = self.core.store.push(&self.core.registry, image, report(progress));
        bounded(cx, "push", async { push.await.map(drop).map_err(of_store("push")) }).await
    }

    async fn build(&self, cx: &OpContext, request: &BuildRequest, progress: &ProgressSink) -> Result<BuildOutput> {
        let stored = bounded(cx, "build", crate::build::build(self, request, progress)).await?;
        self.core.image_event(&stored.id, "build");
        Ok(BuildOutput { id: stored.id })
    }

    async fn load(&self, cx: &OpContext, archive: &Path, _progress: &ProgressSink) -> Result<Vec<Image>> {
        if let Err(error) = std::fs::File::open(archive) {
            let message = format!("cannot read `{}`: {error}", archive.display());
            return Err(Error::new(ErrorKind::Invalid, "load", message).source(error));
        }
        let import = self.core.store.import(archive, None);
        let imported = bounded(cx, "load", async { import.await.map_err(of_store("load")) }).await;
        let stored = imported.map_err(|error| of_archive(archive, error))?;
        if stored.iter().all(|image| image.names.is_empty()) {
            return Err(Error::new(ErrorKind::Invalid, "load", format!("`{}` names no image", archive.display())));
        }
        for image in &stored {
            self.core.image_event(&image.id, "load");
        }
        Ok(stored.iter().map(|image| image_of(image, true)).collect())
    }

    async fn resolve(&self, cx: &OpContext, image: &ImageRef) -> Result<RemoteImage> {
        let resolve = self.core.registry.resolve(image);
        let found = bounded(cx, "resolve", async { resolve.await.map_err(of_store("resolve")) }).await?;
        Ok(RemoteImage { digest: found.digest })
    }
}
