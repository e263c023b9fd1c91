//! Images of a runtime without an engine: the store of `hythe_oci`, and instances that were made of it.

use hythe_oci::{Phase, Registry, Store, Stored};
use hythe_runtime::context::run_blocking;
use hythe_runtime::snapshots::snapshot_of;
use hythe_runtime::{Error, ErrorKind, Image, OpContext, Progress, ProgressSink, RemoteImage, Result};
use hythe_shim::journal::{Kind, append};
use hythe_spec::{ImageRef, Platform};

use crate::image::{config_of, image_of};
use crate::instances::{Instances, Record};
use crate::of_store;

/// What the methods of `hythe_runtime::Images` have in common where images are in a store. Their contracts are there.
#[derive(Debug, Clone, Copy)]
pub struct StoredImages<'a> {
    /// Where the images are.
    pub store: &'a Store,
    /// Where they come from.
    pub registry: &'a Registry,
    /// What was made of them.
    pub instances: &'a Instances,
}

/// What blocks takes with it.
#[derive(Debug, Clone)]
struct Owned {
    store: Store,
    instances: Instances,
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

impl StoredImages<'_> {
    fn owned(&self) -> Owned {
        Owned { store: self.store.clone(), instances: self.instances.clone() }
    }

    /// Tells what became of an image; an event that cannot be written is logged and lost.
    pub fn event(&self, id: &str, action: &str) {
        let kind = Kind::Image(action.to_owned());
        if let Err(error) = append(&self.instances.journal(), id, &serde_json::Value::Null, kind) {
            tracing::warn!(id, %error, "an event cannot be recorded");
        }
    }

    /// Removes a name, and the image with its last one, if it passes the check.
    ///
    /// # Errors
    /// Those of `Images::remove`, and of the check.
    pub async fn remove_where(
        &self,
        cx: &OpContext,
        operation: &'static str,
        image: &ImageRef,
        check: impl FnOnce(&Stored) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let (context, image) = (self.owned(), image.clone());
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
            sweep(&context.store, operation, &records, Some(&stored.id))?;
            Ok(Some(stored.id))
        });
        if let Some(id) = cx.run_detached(operation, work).await? {
            self.event(&id, "remove");
        }
        Ok(())
    }

    /// As `Images::pull`.
    ///
    /// # Errors
    /// As there.
    pub async fn pull(
        &self,
        cx: &OpContext,
        image: &ImageRef,
        platform: Option<&Platform>,
        progress: &ProgressSink,
    ) -> Result<Image> {
        let pull = self.store.pull_for(self.registry, image, platform, report(progress));
        let stored = cx.with_deadline("pull", async { pull.await.map_err(of_store("pull")) }).await?;
        self.event(&stored.id, "pull");
        Ok(image_of(&stored, true))
    }

    /// As `Images::get`.
    ///
    /// # Errors
    /// As there.
    pub async fn get(&self, cx: &OpContext, image: &ImageRef) -> Result<Image> {
        let (context, image) = (self.owned(), image.clone());
        let get = run_blocking("image", move || {
            context.instances.reachable("image")?;
            context.store.get(&image).map_err(of_store("image"))
        });
        Ok(image_of(&cx.with_deadline("image", get).await?, true))
    }

    /// As `Images::list`.
    ///
    /// # Errors
    /// As there.
    pub async fn list(&self, cx: &OpContext) -> Result<Vec<Image>> {
        let context = self.owned();
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

    /// As `Images::remove`.
    ///
    /// # Errors
    /// As there.
    pub async fn remove(&self, cx: &OpContext, image: &ImageRef) -> Result<()> {
        self.remove_where(cx, "image remove", image, |_| Ok(())).await
    }

    /// As `Images::unused`.
    ///
    /// # Errors
    /// As there.
    pub async fn unused(&self, cx: &OpContext) -> Result<Vec<Image>> {
        const OPERATION: &str = "images-unused";
        let context = self.owned();
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

    /// As `Images::discard`.
    ///
    /// # Errors
    /// As there.
    pub async fn discard(&self, cx: &OpContext, id: &str) -> Result<()> {
        const OPERATION: &str = "image-discard";
        let (context, wanted) = (self.owned(), id.to_owned());
        let work = run_blocking(OPERATION, move || discard(&context, OPERATION, &wanted));
        if cx.run_detached(OPERATION, work).await? {
            self.event(id, "remove");
        }
        Ok(())
    }

    /// As `Images::tag`.
    ///
    /// # Errors
    /// As there.
    pub async fn tag(&self, cx: &OpContext, image: &ImageRef, name: &ImageRef) -> Result<()> {
        let (store, image, name) = (self.store.clone(), image.clone(), name.clone());
        let work = run_blocking("image tag", move || {
            store.tag(&image, &name).map_err(of_store("image tag"))?;
            store.get(&image).map_err(of_store("image tag"))
        });
        let stored = cx.run_detached("image tag", work).await?;
        self.event(&stored.id, "tag");
        Ok(())
    }

    /// As `Images::push`.
    ///
    /// # Errors
    /// As there.
    pub async fn push(&self, cx: &OpContext, image: &ImageRef, progress: &ProgressSink) -> Result<()> {
        let push = self.store.push(self.registry, image, report(progress));
        cx.with_deadline("push", async { push.await.map(drop).map_err(of_store("push")) }).await
    }

    /// As `Images::resolve`.
    ///
    /// # Errors
    /// As there.
    pub async fn resolve(&self, cx: &OpContext, image: &ImageRef) -> Result<RemoteImage> {
        let resolve = self.registry.resolve(image);
        let found = cx.with_deadline("resolve", async { resolve.await.map_err(of_store("resolve")) }).await?;
        Ok(RemoteImage { digest: found.digest })
    }
}

/// Removes content that neither an image nor one of these instances, which are all there are, stands on. Images without a name stay too, but for
/// the one that is gone: others are collected by age.
///
/// # Errors
/// Those of the store.
pub fn sweep(store: &Store, operation: &'static str, records: &[Record], gone: Option<&str>) -> Result<()> {
    let images = store.list().map_err(of_store(operation))?;
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
    store.gc(in_use).map(drop).map_err(of_store(operation))
}

/// Removes an image that neither a tag nor an instance holds; whether it was there.
fn discard(context: &Owned, operation: &'static str, id: &str) -> Result<bool> {
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
        sweep(&context.store, operation, &records, Some(id))?;
    }
    Ok(!found.is_empty())
}
