//! From a registry into the store: layers arrive side by side and are unpacked while they arrive.

mod download;
mod partial;
pub(crate) mod platform;
pub(crate) mod source;
mod tail;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;

use futures_util::future::try_join_all;
use hythe_spec::ImageRef;
use oci_spec::image::ImageIndex;
use tokio::sync::Semaphore;

use crate::digest::{Digest, chain};
use crate::registry::Registry;
use crate::store::{Layer, Store, Stored, blocking, invalid_image, parse_config, parse_manifest};
use crate::unpack::Tree;
use crate::{Error, Kind};

use download::{Download, Wanted};
use partial::Partial;
use source::{Document, Source};
use tail::Tail;

/// An index may hold indexes; deeper than this it makes no sense.
const INDEX_DEPTH: usize = 3;
/// The largest configuration worth reading.
const CONFIG_LIMIT: u64 = 16 << 20;
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
        let _using = self.using_async().await?;
        let sources = registry.sources(image);
        let (last, mirrors) = sources.split_last().ok_or_else(|| Error::new(Kind::Invalid, "there is no registry"))?;
        for mirror in mirrors {
            match Pull::begin(self, registry, mirror, &progress).await {
                Ok((pull, document)) => return pull.finish(document, image).await,
                Err(error) => tracing::debug!(%mirror, %error, "a mirror does not have the image"),
            }
        }
        let (pull, document) = Pull::begin(self, registry, last, &progress).await?;
        pull.finish(document, image).await
    }
}

struct Pull<'a> {
    store: &'a Store,
    source: Source<'a>,
    report: Report<'a>,
    downloads: Semaphore,
    unpacks: Semaphore,
}

/// One layer as the manifest and the configuration describe it.
struct Part {
    wanted: Wanted,
    diff: Digest,
    chain: Digest,
}

impl<'a> Pull<'a> {
    async fn begin(
        store: &'a Store,
        registry: &'a Registry,
        image: &'a ImageRef,
        report: Report<'a>,
    ) -> Result<(Self, Document), Error> {
        let source = Source::connect(registry, image, "pull").await?;
        let document = source.document(image.digest.as_deref().or(image.tag.as_deref()).unwrap_or("latest")).await?;
        let downloads = store.options().downloads.max(1);
        let unpackers = available_parallelism().map_or(1, usize::from).min(UNPACKERS).max(downloads);
        let (downloads, unpacks) = (Semaphore::new(downloads), Semaphore::new(unpackers));
        Ok((Self { store, source, report, downloads, unpacks }, document))
    }

    async fn finish(self, document: Document, name: &ImageRef) -> Result<Stored, Error> {
        let outer = document.digest.clone();
        let manifest = self.narrow(document).await?;
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
        self.store.settle_later();
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

    /// From an index to the manifest for this machine.
    async fn narrow(&self, mut document: Document) -> Result<Document, Error> {
        for _ in 0..INDEX_DEPTH {
            if !document.media_type.contains("image.index.v1") && !document.media_type.contains("manifest.list.v2") {
                return Ok(document);
            }
            let index: ImageIndex = serde_json::from_slice(&document.bytes)
                .map_err(|error| invalid_image(&document.digest, &format!("its index cannot be read: {error}")))?;
            let chosen = platform::choose(&index).ok_or_else(|| {
                let (image, own) = (self.source.image(), platform::architecture());
                let message =
                    format!("`{image}` has no image for `linux/{own}`, only for: {}", platform::offered(&index));
                Error::new(Kind::Invalid, message).hint("build and push it for this machine too")
            })?;
            document = self.source.document(chosen.digest().as_ref()).await?;
        }
        Err(invalid_image(&document.digest, "its indexes are nested too deep"))
    }

    /// Reads manifest and configuration; every layer has a diff id, which it is held to.
    async fn parts(&self, document: &Document) -> Result<Vec<Part>, Error> {
        let manifest = parse_manifest(&document.bytes, &document.digest)?;
        let config = manifest.config();
        let wanted = Wanted { digest: Digest::parse(config.digest().as_ref())?, size: config.size() };
        if wanted.size > CONFIG_LIMIT {
            return Err(invalid_image(&document.digest, "its configuration is too large"));
        }
        // It is read at once, so damage is found at once.
        self.discard_damaged(&wanted.digest).await?;
        let download = self.download(&wanted, &|_| ());
        if let Some(partial) = download.begin().await? {
            download.run(partial).await?;
        }
        let (store, id) = (self.store.clone(), wanted.digest);
        let config = blocking(move || parse_config(&store.read_blob(&id)?, &id)).await?;
        let diffs: Result<Vec<_>, _> = config.rootfs().diff_ids().iter().map(|diff| Digest::parse(diff)).collect();
        let diffs = diffs?;
        if diffs.len() != manifest.layers().len() {
            let what = format!("it has {} layers and {} diff ids", manifest.layers().len(), diffs.len());
            return Err(invalid_image(&document.digest, &what));
        }
        let chain = chain(&diffs);
        let parts = manifest.layers().iter().zip(diffs).zip(chain).map(|((layer, diff), chain)| {
            let wanted = Wanted { digest: Digest::parse(layer.digest().as_ref())?, size: layer.size() };
            Ok(Part { wanted, diff, chain })
        });
        parts.collect()
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
        let (diff, chain) = (part.diff.clone(), part.chain.clone());
        blocking(move || {
            // What others unpack they unpack once all is here.
            if store.has_layer(&chain) || store.options().hands.is_some() {
                return Ok(None);
            }
            let Some(along) = along else {
                return store.unpack_blob(&blob, &diff).map(Some);
            };
            match along.tail.reader(&along.path) {
                Ok(reader) => store.unpack(reader, &blob, &diff).map(Some),
                // It is whole and in its place already.
                Err(_) => store.unpack_blob(&blob, &diff).map(Some),
            }
        })
        .await
    }
}

/// Where a layer can be read while it arrives.
#[derive(Clone)]
struct Along {
    path: PathBuf,
    tail: Arc<Tail>,
}

impl Along {
    fn of(partial: &Partial) -> Self {
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
        for (part, tree) in parts.iter().zip(trees) {
            if let Some(tree) = tree {
                self.publish_layer(tree, &part.chain, &below)?;
            }
            below.push(self.layer_files(&part.chain));
        }
        Ok(())
    }
}
