//! From a registry into the store: layers arrive side by side and are unpacked while they arrive.

mod download;
mod pace;
pub(crate) mod platform;
mod resume;
pub(crate) mod source;
mod tail_reader;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;

use futures_util::future::try_join_all;
use hythe_spec::{ImageRef, Platform};
use oci_spec::image::{Descriptor, ImageIndex};
use tokio::sync::Semaphore;

use crate::digest::{Digest, chain};
use crate::document::Shape;
use crate::exchange::built_here;
use crate::registry::Registry;
use crate::store::{Layer, Store, Stored, blocking, invalid_image, parse_config, parse_manifest, repeated};
use crate::unpack::{Budget, Tree};
use crate::{Error, Kind};

use download::{Download, Wanted};
use resume::Resume;
use source::{Document, Source};
use tail_reader::Tail;

/// An index may hold indexes; deeper than this it makes no sense.
const INDEX_DEPTH: usize = 3;
/// More threads than this, or than there are downloads, only wait for the disk.
const UNPACKERS: usize = 4;

/// What happens to a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Bytes are coming in (or, for a push, going out).
    Transferring,
    /// All bytes are here; the rest of them is being unpacked.
    Unpacking,
    /// Done, or there from the beginning.
    Done,
}

/// One report of progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Digest of the layer.
    pub layer: String,
    /// What happens to it.
    pub phase: Phase,
    /// Bytes there.
    pub current: u64,
    /// Bytes in all.
    pub total: u64,
}

pub(crate) type Report<'a> = &'a (dyn Fn(Progress) + Send + Sync);

impl Store {
    /// Pulls an image and unpacks its layers. What is here already is not fetched again, and what an earlier pull fetched in part is gone on with.
    /// The image appears under its name once it is whole. Two pulls of one image at once both succeed; the second waits for the first.
    ///
    /// # Errors
    /// As [`Registry::resolve`] where the registry is the cause; `Invalid` for content that is not what its digest says, for a hostile archive,
    /// and for an image without a build for this machine; `Exhausted`, `Internal`.
    pub async fn pull(
        &self,
        registry: &Registry,
        image: &ImageRef,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Stored, Error> {
        self.pull_for(registry, image, None, progress).await
    }

    /// The same for another kind of machine than this one, if this one runs it too; `None`: for this one. An image that no registry
    /// has (`localhost/…`) is taken as it is.
    ///
    /// # Errors
    /// As [`Store::pull`]; `Invalid` for an image that is for another kind of machine than is wanted.
    pub async fn pull_for(
        &self,
        registry: &Registry,
        image: &ImageRef,
        platform: Option<&Platform>,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Stored, Error> {
        let _using = self.using_async().await?;
        if let Some(absent) = built_here(image) {
            let (store, image) = (self.clone(), image.clone());
            return blocking(move || store.get(&image)).await.map_err(|error| match error.kind() {
                Kind::NotFound => absent,
                _ => error,
            });
        }
        let sources = registry.sources(image);
        let (last, mirrors) = sources.split_last().ok_or_else(|| Error::new(Kind::Invalid, "there is no registry"))?;
        for mirror in mirrors {
            match Pull::begin(self, registry, mirror, platform, &progress).await {
                Ok((pull, document)) => return pull.finish(document, image).await,
                Err(error) => tracing::debug!(%mirror, %error, "a mirror does not have the image"),
            }
        }
        let (pull, document) = Pull::begin(self, registry, last, platform, &progress).await?;
        pull.finish(document, image).await
    }
}

impl Registry {
    /// Whether the registry has an image for this machine, or for another kind, its manifest too where there is an index: what a pull asks before it fetches anything.
    ///
    /// # Errors
    /// As [`Registry::resolve`]; `NotFound` too where the index names an image for this machine that the registry lacks, `Invalid` where it names none.
    pub async fn check(&self, image: &ImageRef, platform: Option<&Platform>) -> Result<(), Error> {
        let source = Source::connect(self, image, "pull").await?;
        let version = image.digest.as_deref().or(image.tag.as_deref()).unwrap_or("latest");
        let document = source.document(version, None).await?;
        narrow(&source, document, platform).await.map(drop)
    }
}

struct Pull<'a> {
    store: &'a Store,
    source: Source<'a>,
    platform: Option<&'a Platform>,
    report: Report<'a>,
    downloads: Semaphore,
    unpacks: Semaphore,
    budget: Budget,
}

/// One layer as the manifest and the configuration describe it.
struct Part {
    wanted: Wanted,
    diff: Digest,
    chain: Digest,
    /// The same layer comes again above it, so that it is not unpacked.
    again: bool,
}

impl<'a> Pull<'a> {
    async fn begin(
        store: &'a Store,
        registry: &'a Registry,
        image: &'a ImageRef,
        platform: Option<&'a Platform>,
        report: Report<'a>,
    ) -> Result<(Self, Document), Error> {
        let source = Source::connect(registry, image, "pull").await?;
        let document =
            source.document(image.digest.as_deref().or(image.tag.as_deref()).unwrap_or("latest"), None).await?;
        let downloads = store.options().downloads.max(1);
        let unpackers = available_parallelism().map_or(1, usize::from).min(UNPACKERS).max(downloads);
        let (downloads, unpacks) = (Semaphore::new(downloads), Semaphore::new(unpackers));
        Ok((Self { store, source, platform, report, downloads, unpacks, budget: store.budget() }, document))
    }

    async fn finish(self, document: Document, name: &ImageRef) -> Result<Stored, Error> {
        let outer = document.digest.clone();
        let manifest = narrow(&self.source, document, self.platform).await?;
        let _turn = self.store.turn("pull", &manifest.digest).await?;
        let parts = self.parts(&manifest).await?;
        let mut trees = try_join_all(parts.iter().map(|part| self.layer(part))).await?;
        if self.store.options().hands.is_some()
            && let Err(error) = self.hand_over(&parts).await
        {
            let damaged = try_join_all(parts.iter().map(|part| self.discard_damaged(&part.wanted.digest))).await?;
            if error.kind() != Kind::Invalid || !damaged.contains(&true) {
                return Err(error);
            }
            trees = try_join_all(parts.iter().map(|part| self.layer(part))).await?;
            self.hand_over(&parts).await?;
        }
        let store = self.store.clone();
        let chosen_from = (outer != manifest.digest).then_some(outer);
        let name = name.clone();
        let stored = blocking(move || {
            store.publish_layers(&parts, trees)?;
            store.put_blob(&manifest.bytes)?;
            let mut stored = store.load_manifest(&manifest.digest, &manifest.media_type)?;
            stored.index = chosen_from.map(|digest| digest.to_string());
            store.name(&stored, Some(name.to_string()))?;
            store.get(&name)
        })
        .await?;
        self.store.sync_in_background();
        Ok(stored)
    }

    /// Has others unpack what was fetched.
    async fn hand_over(&self, parts: &[Part]) -> Result<(), Error> {
        let layer = |part: &Part| Layer {
            digest: part.wanted.digest.to_string(),
            size: part.wanted.size,
            media_type: String::new(),
            diff_id: part.diff.to_string(),
            chain_id: part.chain.to_string(),
        };
        let (store, layers) = (self.store.clone(), parts.iter().map(layer).collect::<Vec<_>>());
        blocking(move || store.unpacked(&layers).map(drop)).await
    }

    /// Reads manifest and configuration; every layer has a diff id, which it is held to.
    async fn parts(&self, document: &Document) -> Result<Vec<Part>, Error> {
        let manifest = parse_manifest(&document.bytes, &document.digest)?;
        let config = manifest.config();
        let wanted = Wanted { digest: Digest::parse(config.digest().as_ref())?, size: config.size() };
        // It is read at once, so damage is found at once.
        self.discard_damaged(&wanted.digest).await?;
        let download = self.download(&wanted, &|_| ());
        if let Some(partial) = download.begin().await? {
            download.run(partial).await?;
        }
        let (store, id) = (self.store.clone(), wanted.digest);
        let config = blocking(move || parse_config(&store.read_blob(&id)?, &id)).await?;
        let image = self.source.image().to_string();
        if let Some(wanted) = self.platform {
            platform::check_wanted(&config, wanted, &image)?;
        }
        platform::check(&config, &image)?;
        let diffs: Result<Vec<_>, _> = config.rootfs().diff_ids().iter().map(|diff| Digest::parse(diff)).collect();
        let diffs = diffs?;
        if diffs.len() != manifest.layers().len() {
            let what = format!("it has {} layers and {} diff ids", manifest.layers().len(), diffs.len());
            return Err(invalid_image(&document.digest, &what));
        }
        let again = repeated(manifest.layers().iter().map(|layer| layer.digest().as_ref()).zip(&diffs));
        let chain = chain(&diffs);
        let parts = manifest.layers().iter().zip(diffs).zip(chain).zip(again).map(|(((layer, diff), chain), again)| {
            let wanted = Wanted { digest: Digest::parse(layer.digest().as_ref())?, size: layer.size() };
            Ok(Part { wanted, diff, chain, again })
        });
        let parts: Vec<Part> = parts.collect::<Result<_, _>>()?;
        self.check_room(&parts)?;
        Ok(parts)
    }

    /// What is still to be fetched must fit, each layer counted once, however often the manifest names it.
    fn check_room(&self, parts: &[Part]) -> Result<(), Error> {
        let missing =
            parts.iter().map(|part| &part.wanted).filter(|part| !self.store.has_blob(&part.digest, part.size));
        // What an earlier pull fetched of it takes its space already.
        let begun = |digest: &Digest| std::fs::metadata(self.store.at("ingest").join(digest.digits()));
        let rest = |part: &Wanted| part.size.saturating_sub(begun(&part.digest).map_or(0, |found| found.len()));
        let sizes: BTreeMap<&Digest, u64> = missing.map(|part| (&part.digest, rest(part))).collect();
        let needed = sizes.values().fold(0_u64, |sum, size| sum.saturating_add(*size));
        self.store.check_room(needed, &format!("image `{}`", self.source.image()))
    }

    fn download<'d>(&'d self, wanted: &'d Wanted, report: &'d (dyn Fn(u64) + Send + Sync)) -> Download<'d> {
        Download { source: &self.source, store: self.store, wanted, report }
    }

    /// Fetches and unpacks one layer; gives the unpacked tree, or `None` where it is in place already.
    async fn layer(&self, part: &Part) -> Result<Option<Tree>, Error> {
        let total = part.wanted.size;
        let tell = |phase, current| {
            (self.report)(Progress { layer: part.wanted.digest.to_string(), phase, current, total });
        };
        let transferred = |current| tell(Phase::Transferring, current);
        let download = self.download(&part.wanted, &transferred);
        let permit = self.downloads.acquire().await.map_err(closed)?;
        let tree = match download.begin().await? {
            None => {
                drop(permit);
                tell(Phase::Unpacking, total);
                match self.unpack(part, None).await {
                    Err(error)
                        if error.kind() == Kind::Invalid && self.discard_damaged(&part.wanted.digest).await? =>
                    {
                        return Box::pin(self.layer(part)).await;
                    }
                    tree => tree?,
                }
            }
            Some(partial) => {
                let along = Along::of(&partial);
                let fetch = async {
                    let outcome = download.run(partial).await;
                    drop(permit);
                    tell(Phase::Unpacking, total);
                    outcome
                };
                let (fetched, tree) = tokio::join!(fetch, self.unpack(part, Some(along.clone())));
                fetched?;
                match tree {
                    Err(_) if along.tail.is_broken() => self.unpack(part, None).await?,
                    tree => tree?,
                }
            }
        };
        tell(Phase::Done, total);
        Ok(tree)
    }

    async fn discard_damaged(&self, digest: &Digest) -> Result<bool, Error> {
        let (store, digest) = (self.store.clone(), digest.clone());
        blocking(move || store.discard_damaged(&digest)).await
    }

    /// Unpacks from the store, or along with the download.
    async fn unpack(&self, part: &Part, along: Option<Along>) -> Result<Option<Tree>, Error> {
        let _permit = self.unpacks.acquire().await.map_err(closed)?;
        let (store, blob) = (self.store.clone(), part.wanted.digest.clone());
        let (diff, chain, budget, again) = (part.diff.clone(), part.chain.clone(), self.budget.clone(), part.again);
        blocking(move || {
            // What others unpack they unpack once all is here.
            if again || store.has_layer(&chain) || store.options().hands.is_some() {
                return Ok(None);
            }
            let Some(along) = along else {
                return store.unpack_blob(&blob, &diff, &budget).map(Some);
            };
            match along.tail.reader(&along.path) {
                Ok(reader) => store.unpack(reader, (&blob, &diff), &budget).map(Some),
                // It is whole and in its place already.
                Err(_) => store.unpack_blob(&blob, &diff, &budget).map(Some),
            }
        })
        .await
    }
}

/// From an index to the manifest for this machine, or for the wanted one.
async fn narrow(source: &Source<'_>, mut document: Document, wanted: Option<&Platform>) -> Result<Document, Error> {
    for _ in 0..INDEX_DEPTH {
        if document.shape == Shape::Manifest {
            return Ok(document);
        }
        let index: ImageIndex = serde_json::from_slice(&document.bytes)
            .map_err(|error| invalid_image(&document.digest, &format!("its index cannot be read: {error}")))?;
        let chosen = platform::choose(&index, wanted).ok_or_else(|| {
            let (image, platform) = (source.image(), wanted.cloned().unwrap_or_else(Platform::own));
            let message = format!("`{image}` has no image for `{platform}`, only for: {}", platform::offered(&index));
            let hint = wanted.map_or(
                "build and push it for this platform too",
                |_| "leave `platform` out, or build and push it for that platform too",
            );
            Error::new(Kind::Invalid, message).hint(hint)
        })?;
        let child = source.document(chosen.digest().as_ref(), Some(chosen.media_type().as_ref())).await;
        document = child.map_err(|error| lost_child(source, &document, chosen, wanted, error))?;
    }
    Err(invalid_image(&document.digest, "its indexes are nested too deep"))
}

/// The image is there, and a part of it is not.
fn lost_child(
    source: &Source<'_>,
    index: &Document,
    child: &Descriptor,
    wanted: Option<&Platform>,
    error: Error,
) -> Error {
    if error.kind() != Kind::NotFound {
        return error;
    }
    let (image, platform) = (source.image(), wanted.cloned().unwrap_or_else(Platform::own));
    let message = format!(
        "`{image}` is an index (`{}`) whose image for `{platform}`, `{}`, is missing in the registry",
        index.digest,
        child.digest()
    );
    Error::new(Kind::NotFound, message).hint("push the image again with all its platforms")
}

/// Where a layer can be read while it arrives.
#[derive(Clone)]
struct Along {
    path: PathBuf,
    tail: Arc<Tail>,
}

impl Along {
    fn of(partial: &Resume) -> Self {
        Self { path: partial.path().clone(), tail: Arc::clone(&partial.tail) }
    }
}

fn closed(_: tokio::sync::AcquireError) -> Error {
    Error::new(Kind::Internal, "a pull was ended from within")
}

impl Store {
    /// Lowest first, since a layer takes the looks of undescribed directories from those below it.
    fn publish_layers(&self, parts: &[Part], trees: Vec<Option<Tree>>) -> Result<(), Error> {
        let mut below = Vec::with_capacity(parts.len());
        for (part, tree) in parts.iter().zip(trees).filter(|(part, _)| !part.again) {
            if let Some(tree) = tree {
                self.publish_layer(tree, &part.chain, &below)?;
            }
            below.push(self.layer_files(&part.chain));
        }
        Ok(())
    }
}
