//! Images in the store, found by name, digest or id.

use std::collections::BTreeMap;

use hythe_spec::ImageRef;
use oci_spec::image::{ImageConfiguration, ImageManifest};

use super::Store;
use super::index::{Row, name_of, release};
use crate::digest::{Digest, chain};
use crate::document::{Shape, is_config_type, shape};
use crate::{Error, Kind};

/// Manifests, indexes and configurations are never larger.
pub(crate) const DOCUMENT_LIMIT: u64 = 16 << 20;
/// As many layers as overlayfs of the kernel stacks at most.
pub(crate) const LAYERS: usize = 500;
/// No part of an image is larger; sums of sizes stay far from overflowing.
const PART_LIMIT: u64 = 1 << 40;

/// Fewer digits of an id are too likely to be a mistake.
const SHORT_ID: usize = 6;

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// Digest of the configuration, `sha256:…`: the image's id.
    pub id: String,
    /// Digest of the manifest.
    pub digest: String,
    /// Digest of the index that the manifest was chosen from, where there was one: what a registry calls the image.
    pub index: Option<String>,
    /// Full references, sorted; none once the last name is removed.
    pub names: Vec<String>,
    /// Bytes of all its content as stored (layers compressed as they came).
    pub size: u64,
    /// What the image says about running it.
    pub config: ImageConfiguration,
    /// `Healthcheck` of its configuration, which Docker's format has and OCI's has not; null where absent.
    pub healthcheck: serde_json::Value,
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
    /// The manifest's media type.
    pub media_type: String,
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Layer {
    /// Digest of the layer as stored, mostly compressed.
    pub digest: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its media type.
    pub media_type: String,
    /// Digest of its uncompressed archive.
    pub diff_id: String,
    /// What names the layer on top of its lower ones: the key of its unpacked directory.
    pub chain_id: String,
}

impl Store {
    /// The image of a reference: by name, or, where the reference has a digest, by that of its manifest, index or configuration.
    ///
    /// # Errors
    /// `NotFound`; `Internal` for the disk.
    pub fn get(&self, image: &ImageRef) -> Result<Stored, Error> {
        let name = name_of(image);
        let images = self.images()?;
        let by_name = images.iter().find(|rows| rows.iter().any(|row| row.name.as_ref() == Some(&name)));
        if let Some(rows) = by_name {
            return self.load(rows);
        }
        let digest = image.digest.as_deref().ok_or_else(|| absent(&name))?;
        self.by_digest(&images, |candidate| candidate == digest)?.ok_or_else(|| absent(&name))
    }

    /// As [`Store::get`], for what a user types: also an id, whole or its first digits.
    ///
    /// # Errors
    /// As [`Store::get`]; `Invalid` for what is neither.
    pub fn find(&self, text: &str) -> Result<Stored, Error> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let is_id = digits.len() >= SHORT_ID && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if is_id {
            let start = format!("sha256:{digits}");
            if let Some(found) = self.by_digest(&self.images()?, |candidate| candidate.starts_with(&start))? {
                return Ok(found);
            }
        }
        let image: Result<ImageRef, _> = text.parse();
        match image {
            Ok(image) => self.get(&image),
            Err(_) if is_id => Err(absent(text)),
            Err(error) => Err(Error::new(Kind::Invalid, format!("`{text}` is not an image: {error}"))),
        }
    }

    /// All images, those without a name too, sorted by first name. One whose content is damaged is left out.
    ///
    /// # Errors
    /// `Internal`: the disk.
    pub fn list(&self) -> Result<Vec<Stored>, Error> {
        let mut found = Vec::new();
        for rows in self.images()? {
            match self.load(&rows) {
                Ok(image) => found.push(image),
                Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Invalid) => {
                    tracing::warn!(manifest = %rows[0].manifest, %error, "an image of the store is damaged");
                }
                Err(error) => return Err(error),
            }
        }
        found.sort_by(|a, b| a.names.cmp(&b.names).then_with(|| a.digest.cmp(&b.digest)));
        Ok(found)
    }

    /// Gives the image one more name; another image that had it loses it.
    ///
    /// # Errors
    /// `NotFound`; `Internal` for the disk.
    pub fn tag(&self, image: &ImageRef, name: &ImageRef) -> Result<(), Error> {
        let _using = self.using()?;
        let stored = self.get(image)?;
        self.name(&stored, Some(name_of(name)))
    }

    /// Takes the name away. Content goes at [`Store::gc`], once nothing refers to it.
    /// A reference by digest that is no name of the image itself takes all its names.
    ///
    /// # Errors
    /// `NotFound`; `Internal` for the disk.
    pub fn remove(&self, image: &ImageRef) -> Result<(), Error> {
        let name = name_of(image);
        if self.change_rows(|rows| Ok(release(rows, &name)))? {
            return Ok(());
        }
        let digest = image.digest.is_some().then(|| self.get(image)).transpose()?.ok_or_else(|| absent(&name))?.digest;
        self.unname(&digest)
    }

    /// Takes all names of the image with this manifest away.
    ///
    /// # Errors
    /// `Internal`: the disk.
    pub fn unname(&self, digest: &str) -> Result<(), Error> {
        self.change_rows(|rows| {
            for row in rows.iter_mut().filter(|row| row.manifest.as_str() == digest) {
                row.name = None;
            }
            rows.dedup();
            Ok(())
        })
    }

    /// Gives an image without a name its first one; another image that had it loses it.
    ///
    /// # Errors
    /// `NotFound`; `Internal` for the disk.
    pub fn first_name(&self, image: &Stored, name: &ImageRef) -> Result<Stored, Error> {
        let _using = self.using()?;
        self.name(image, Some(name_of(name)))?;
        self.get(name)
    }

    pub(crate) fn name(&self, image: &Stored, name: Option<String>) -> Result<(), Error> {
        let manifest = Digest::parse(&image.digest)?;
        let size = std::fs::metadata(self.blob_path(&manifest)).map_or(0, |found| found.len());
        let chosen_from = image.index.as_deref().map(Digest::parse).transpose()?;
        self.name_row(Row { manifest, media_type: image.media_type.clone(), size, chosen_from, name })
    }

    /// Rows by image, in no order.
    fn images(&self) -> Result<Vec<Vec<Row>>, Error> {
        let mut images: BTreeMap<Digest, Vec<Row>> = BTreeMap::new();
        for row in self.rows()? {
            images.entry(row.manifest.clone()).or_default().push(row);
        }
        Ok(images.into_values().collect())
    }

    pub(crate) fn by_manifest(&self, manifest: &Digest) -> Result<Stored, Error> {
        let rows: Vec<_> = self.rows()?.into_iter().filter(|row| row.manifest == *manifest).collect();
        self.load(&rows)
    }

    fn by_digest(&self, images: &[Vec<Row>], matches: impl Fn(&str) -> bool) -> Result<Option<Stored>, Error> {
        let of_row = |row: &Row| {
            matches(row.manifest.as_str()) || row.chosen_from.as_ref().is_some_and(|index| matches(index.as_str()))
        };
        for rows in images {
            let loaded = || self.load(rows);
            if rows.iter().any(of_row) {
                return loaded().map(Some);
            }
            if let Ok(image) = loaded()
                && matches(&image.id)
            {
                return Ok(Some(image));
            }
        }
        Ok(None)
    }

    fn load(&self, rows: &[Row]) -> Result<Stored, Error> {
        let row = rows.first().ok_or_else(|| absent("an image without rows"))?;
        let mut stored = self.load_manifest(&row.manifest, &row.media_type)?;
        stored.names = rows.iter().filter_map(|row| row.name.clone()).collect();
        stored.names.sort();
        stored.index = rows.iter().find_map(|row| row.chosen_from.as_ref().map(Digest::to_string));
        Ok(stored)
    }

    /// The image of a manifest in the store, as yet without names.
    pub(crate) fn load_manifest(&self, digest: &Digest, media_type: &str) -> Result<Stored, Error> {
        let bytes = self.read_blob(digest)?;
        let manifest = parse_manifest(&bytes, digest)?;
        let id = Digest::parse(manifest.config().digest().as_ref())?;
        let document = self.read_blob(&id)?;
        let config = parse_config(&document, &id)?;
        let layers = layers(&manifest, &config, digest)?;
        let of_layers: u64 = layers.iter().map(|layer| layer.size).sum();
        Ok(Stored {
            id: id.to_string(),
            digest: digest.to_string(),
            index: None,
            names: Vec::new(),
            size: of_layers + manifest.config().size() + bytes.len() as u64,
            config,
            healthcheck: healthcheck(&document),
            layers,
            media_type: media_type.to_owned(),
        })
    }
}

/// Joins what the manifest and the configuration say about the layers.
fn layers(manifest: &ImageManifest, config: &ImageConfiguration, digest: &Digest) -> Result<Vec<Layer>, Error> {
    let diff_ids: Vec<Digest> =
        config.rootfs().diff_ids().iter().map(|diff| Digest::parse(diff)).collect::<Result<_, _>>()?;
    if diff_ids.len() != manifest.layers().len() {
        let (layers, ids) = (manifest.layers().len(), diff_ids.len());
        return Err(invalid_image(digest, &format!("it has {layers} layers and {ids} diff ids")));
    }
    let chain = chain(&diff_ids);
    let joined = manifest.layers().iter().zip(&diff_ids).zip(&chain).map(|((layer, diff), chain)| Layer {
        digest: layer.digest().to_string(),
        size: layer.size(),
        media_type: layer.media_type().to_string(),
        diff_id: diff.to_string(),
        chain_id: chain.to_string(),
    });
    Ok(joined.collect())
}

pub(crate) fn parse_manifest(bytes: &[u8], digest: &Digest) -> Result<ImageManifest, Error> {
    match shape(bytes, None).map_err(|why| invalid_image(digest, &why))? {
        Shape::Manifest => {}
        Shape::Index => return Err(invalid_image(digest, "it is an index where a manifest is wanted")),
    }
    let manifest: ImageManifest = serde_json::from_slice(bytes)
        .map_err(|error| invalid_image(digest, &format!("its manifest cannot be read: {error}")))?;
    check_bounds(&manifest).map_err(|why| invalid_image(digest, &why))?;
    Ok(manifest)
}

/// What no honest image exceeds, judged before anything is done for it.
fn check_bounds(manifest: &ImageManifest) -> Result<(), String> {
    let config = manifest.config();
    let kind = config.media_type().to_string();
    if !is_config_type(&kind) {
        return Err(format!("it is no container image but something else in a registry, of type `{kind}`"));
    }
    if config.size() > DOCUMENT_LIMIT {
        return Err(format!("its configuration is larger than {DOCUMENT_LIMIT} bytes"));
    }
    let layers = manifest.layers();
    if layers.len() > LAYERS {
        return Err(format!("it has {} layers, and the kernel stacks {LAYERS} at most", layers.len()));
    }
    match layers.iter().find(|layer| layer.size() > PART_LIMIT) {
        Some(layer) => Err(format!("its layer `{}` claims {} bytes", layer.digest(), layer.size())),
        None => Ok(()),
    }
}

pub(crate) fn parse_config(bytes: &[u8], digest: &Digest) -> Result<ImageConfiguration, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| invalid_image(digest, &format!("its configuration cannot be read: {error}")))
}

fn healthcheck(config: &[u8]) -> serde_json::Value {
    let mut document: serde_json::Value = serde_json::from_slice(config).unwrap_or_default();
    document.pointer_mut("/config/Healthcheck").map(serde_json::Value::take).unwrap_or_default()
}

pub(crate) fn invalid_image(digest: &Digest, what: &str) -> Error {
    Error::new(Kind::Invalid, format!("image `{digest}` cannot be used: {what}"))
}

fn absent(name: &str) -> Error {
    Error::new(Kind::NotFound, format!("the image store has no image `{name}`")).hint("pull or import it")
}
