//! Images of the engines: which ones nobody needs, removing those, and which ones this agent pulled.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hythe_runtime::{Capability, Error, ErrorKind, Image, Images, OpContext, Runtime};
use hythe_spec::{ImageRef, Platform};
use jiff::{SignedDuration, Timestamp};

use crate::Controller;

const OPERATION: &str = "images";

/// Which images to remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneOptions {
    /// On this runtime alone; `None`: on every one that answers.
    pub runtime: Option<String>,
    /// Those with a tag too.
    pub all: bool,
    /// Only those that were made, and where this agent pulled them pulled, so long ago; one whose age nobody knows stays.
    pub older_than: Option<Duration>,
    /// Only say which.
    pub dry_run: bool,
}

/// An image and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageOn {
    /// Name of the runtime.
    pub runtime: String,
    /// The image.
    pub image: Image,
}

/// What a pruning did, or would do.
#[derive(Debug, Default)]
pub struct PrunedImages {
    /// What was removed.
    pub removed: Vec<ImageOn>,
    /// What could not be removed, and why.
    pub failed: Vec<(ImageOn, Error)>,
}

/// Refuses an image of another platform than the wanted one or, where none is wanted, than the runtime can run. An image without a platform is
/// accepted.
///
/// # Errors
/// `Invalid`.
pub fn check_platform(
    image: &ImageRef,
    wanted: Option<&Platform>,
    capability: &Capability,
    found: &Image,
) -> Result<(), Error> {
    let Some(found) = &found.platform else { return Ok(()) };
    let (words, hint) = match (wanted, capability.platform_unlike(found)) {
        (Some(wanted), _) if !wanted.is_met_by(found) => (
            format!("`{image}` is an image for `{found}`, and `{wanted}` is wanted"),
            "leave `platform` out, or build the image for it too",
        ),
        (None, Some(own)) => (
            format!("`{image}` is an image for `{found}`, and this host is `{own}`"),
            "use an image for this platform, or build one",
        ),
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::Invalid, "pull", words).hint(hint))
}

impl Controller {
    /// Images of a runtime that no instance and no component needs; those without a tag are dangling.
    ///
    /// # Errors
    /// Those of the runtime; `Unsupported` where it keeps no images.
    pub async fn unused_images(&self, runtime: &str) -> Result<Vec<Image>, Error> {
        let engine = self.reading(runtime)?;
        let facet = engine.images().ok_or_else(|| keeps_none(runtime))?;
        let mut unused = facet.unused(&OpContext::new(OPERATION)).await?;
        // Asked after the engine was: whoever began to need one meanwhile keeps it.
        let needed = self.needed_images();
        unused.retain(|image| !needed.iter().any(|reference| names(reference, image)));
        Ok(unused)
    }

    /// Removes images that nobody needs, whoever pulled them.
    ///
    /// # Errors
    /// Those of the runtimes as they are asked for their images.
    pub async fn prune_images(&self, options: &PruneOptions) -> Result<PrunedImages, Error> {
        let answering = |name: &String| self.runtimes.get(name).is_ok_and(|runtime| runtime.images().is_some());
        let runtimes = match &options.runtime {
            Some(name) => vec![name.clone()],
            None => self.runtimes.names().into_iter().filter(answering).collect(),
        };
        let mut pruned = PrunedImages::default();
        for runtime in runtimes {
            for image in self.old_enough(&runtime, options).await? {
                let removed = if options.dry_run { Ok(()) } else { self.remove_unused(&runtime, &image).await };
                let on = ImageOn { runtime: runtime.clone(), image };
                match removed {
                    Ok(()) => pruned.removed.push(on),
                    Err(error) => pruned.failed.push((on, error)),
                }
            }
        }
        Ok(pruned)
    }

    async fn old_enough(&self, runtime: &str, options: &PruneOptions) -> Result<Vec<Image>, Error> {
        let mut images = self.unused_images(runtime).await?;
        images.retain(|image| options.all || image.tags.is_empty());
        let Some(age) = options.older_than else { return Ok(images) };
        let brought = self.store.brought_images().map_err(crate::store_error)?;
        let brought: BTreeMap<String, Timestamp> =
            brought.into_iter().filter(|one| one.runtime == runtime).map(|one| (one.id, one.time)).collect();
        let now = self.now();
        images.retain(|image| {
            // The epoch is what reproducible builds say, and no time at all.
            let made = image.created.filter(|created| *created > Timestamp::UNIX_EPOCH);
            let since = made.max(brought.get(&image.id).copied());
            since.is_some_and(|since| is_older(since, age, now))
        });
        Ok(images)
    }

    /// Removes an image with all its names, if nobody needs it still.
    pub(crate) async fn remove_unused(&self, runtime: &str, image: &Image) -> Result<(), Error> {
        if let Some(reference) = self.needed_images().iter().find(|reference| names(reference, image)) {
            return Err(Error::new(ErrorKind::Conflict, OPERATION, format!("a component needs `{reference}` again")));
        }
        let engine = self.runtimes.get(runtime)?;
        let facet = engine.images().ok_or_else(|| keeps_none(runtime))?;
        let cx = OpContext::new(OPERATION);
        for tag in image.tags.iter().filter_map(|tag| tag.parse::<ImageRef>().ok()) {
            facet.remove(&cx, &tag).await?;
        }
        facet.discard(&cx, &image.id).await?;
        if let Err(error) = self.store.forget_image(runtime, &image.id) {
            tracing::warn!(%error, "a removed image was not forgotten");
        }
        Ok(())
    }

    /// Images of the components that are wanted, run, or would be gone back to.
    fn needed_images(&self) -> Vec<ImageRef> {
        let mut needed = Vec::new();
        for state in self.workloads() {
            let instances = state.observed.current.into_iter().chain(state.observed.previous);
            needed.push(state.desired.spec.component.image);
            needed.extend(instances.map(|instance| instance.spec.component.image));
        }
        needed
    }

    /// Pulls, loads or builds by `work`, and remembers the images that this agent has got for the runtime with that.
    ///
    /// # Errors
    /// Those of `work`.
    pub async fn record_pulled<T>(
        &self,
        cx: &OpContext,
        runtime: &dyn Runtime,
        images: &dyn Images,
        work: impl Future<Output = Result<(T, Vec<Image>), Error>>,
    ) -> Result<T, Error> {
        // Before it begins: what was there is not ours.
        let unused = images.unused(cx).await.ok();
        let before = unused.map(|unused| unused.into_iter().map(|image| image.id).collect::<BTreeSet<String>>());
        let (done, pulled) = work.await?;
        for image in &pulled {
            self.note_pulled(before.as_ref(), &runtime.info().name, image);
        }
        Ok(done)
    }

    /// One that was there already under another name, or without one, is somebody's.
    fn note_pulled(&self, before: Option<&BTreeSet<String>>, runtime: &str, image: &Image) {
        let was_there = before.is_none_or(|before| before.contains(&image.id)) || image.tags.len() > 1;
        if was_there {
            return;
        }
        if let Err(error) = self.store.bring_image(runtime, &image.id, self.now()) {
            tracing::warn!(%error, "an image that was pulled is not remembered");
        }
    }
}

pub(crate) fn is_older(since: Timestamp, age: Duration, now: Timestamp) -> bool {
    SignedDuration::try_from(age).is_ok_and(|age| now.duration_since(since) >= age)
}

fn keeps_none(runtime: &str) -> Error {
    Error::new(ErrorKind::Unsupported, OPERATION, format!("runtime `{runtime}` keeps no images"))
}

/// Whether the reference of a component stands for this image.
fn names(reference: &ImageRef, image: &Image) -> bool {
    match &reference.digest {
        Some(digest) => {
            let known = |name: &String| name.rsplit_once('@').is_some_and(|(_, known)| known == digest);
            image.id == *digest || image.digests.iter().any(known)
        }
        None => {
            let tag = reference.tag.as_deref().unwrap_or("latest");
            image.tags.contains(&format!("{}:{tag}", reference.repository()))
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn component_keeps_its_image_by_tag_and_by_digest() {
        let digest = format!("sha256:{}", "1".repeat(64));
        let image = Image {
            id: format!("sha256:{}", "2".repeat(64)),
            tags: vec!["example.com/web:1".to_owned()],
            digests: vec![format!("example.com/web@{digest}")],
            size: 1,
            created: None,
            config: None,
            platform: None,
        };
        let needs = |text: &str| names(&text.parse().unwrap(), &image);
        assert!(
            needs("example.com/web:1")
                && needs(&format!("example.com/web@{digest}"))
                && needs(&format!("example.com/web:9@{digest}"))
        );
        assert!(
            !needs("example.com/web:2")
                && !needs("example.com/other:1")
                && !needs(&format!("example.com/web:1@{}", digest.replace('1', "3")))
        );
    }
}
