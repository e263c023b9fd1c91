//! Removing what nothing refers to.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::index::Row;
use super::{Lock, Store};
use crate::Error;
use crate::digest::Digest;
use crate::error::Local as _;

/// How long an unfinished download is worth going on with.
const KEEP_PARTIAL: Duration = Duration::from_secs(24 * 3600);

/// What [`Store::gc`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Images that had no name left.
    pub images: u64,
    /// Manifests, configurations and compressed layers.
    pub blobs: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Unpacked layers (their bytes are not counted).
    pub layers: u64,
    /// Somebody is adding images at this moment, so nothing was looked at: call again later.
    pub postponed: bool,
}

/// What must stay.
#[derive(Default)]
struct Kept {
    blobs: BTreeSet<String>,
    layers: BTreeSet<String>,
}

impl Store {
    /// Removes images without a name, and content and unpacked layers that no image refers to. `in_use` is asked about image ids, manifest
    /// digests and chain ids, and keeps what containers still stand on. Blocking.
    ///
    /// # Errors
    /// `Internal`: the disk. What was removed until then stays removed.
    pub fn gc(&self, in_use: impl Fn(&str) -> bool) -> Result<Pruned, Error> {
        let Some(_alone) = Lock::try_exclusive(&self.lock_path("users"))? else {
            return Ok(Pruned { postponed: true, ..Pruned::default() });
        };
        let mut freed = Pruned::default();
        let mut kept = Kept::default();
        freed.images = self.change_rows(|rows| {
            let before = rows.len();
            rows.retain(|row| self.keep(row, &in_use, &mut kept));
            Ok((before - rows.len()) as u64)
        })?;
        self.sweep_blobs(&kept, &mut freed)?;
        self.sweep_layers(&kept, &in_use, &mut freed)?;
        self.sweep_partial()?;
        self.sweep_locks()?;
        Ok(freed)
    }

    /// Whether an image stays; damaged ones stay while they have a name, with what of them can be read.
    fn keep(&self, row: &Row, in_use: &impl Fn(&str) -> bool, kept: &mut Kept) -> bool {
        let image = self.load_manifest(&row.manifest, &row.media_type);
        let used = || in_use(row.manifest.as_str()) || image.as_ref().is_ok_and(|image| in_use(&image.id));
        if row.name.is_none() && !used() {
            return false;
        }
        kept.blobs.insert(row.manifest.digits().to_owned());
        if let Ok(image) = &image {
            let digits = |digest: &str| Digest::parse(digest).ok().map(|digest| digest.digits().to_owned());
            let contents = image.layers.iter().map(|layer| layer.digest.as_str()).chain([image.id.as_str()]);
            kept.blobs.extend(contents.filter_map(digits));
            kept.layers.extend(image.layers.iter().filter_map(|layer| digits(&layer.chain_id)));
        }
        true
    }

    fn sweep_blobs(&self, kept: &Kept, freed: &mut Pruned) -> Result<(), Error> {
        let path = self.blobs();
        for entry in std::fs::read_dir(&path).local("read", &path)? {
            let entry = entry.local("read", &path)?;
            if entry.file_name().to_str().is_some_and(|name| kept.blobs.contains(name)) {
                continue;
            }
            let size = entry.metadata().map_or(0, |found| found.len());
            std::fs::remove_file(entry.path()).local("remove", &entry.path())?;
            freed.blobs += 1;
            freed.bytes += size;
        }
        Ok(())
    }

    fn sweep_layers(&self, kept: &Kept, in_use: &impl Fn(&str) -> bool, freed: &mut Pruned) -> Result<(), Error> {
        for home in self.layer_homes()? {
            let name = file_name(&home);
            if !kept.layers.contains(name) && !in_use(&format!("sha256:{name}")) {
                self.remove_layer(&home)?;
                freed.layers += 1;
            }
        }
        Ok(())
    }

    fn sweep_partial(&self) -> Result<(), Error> {
        let path = self.at("ingest");
        for entry in std::fs::read_dir(&path).local("read", &path)? {
            let entry = entry.local("read", &path)?;
            let age = entry.metadata().and_then(|found| found.modified()).ok().and_then(|at| at.elapsed().ok());
            if age.is_some_and(|age| age > KEEP_PARTIAL) {
                std::fs::remove_file(entry.path()).local("remove", &entry.path())?;
            }
        }
        Ok(())
    }
}

impl Store {
    /// Only users take locks of these, and there is no user now.
    fn sweep_locks(&self) -> Result<(), Error> {
        let path = self.at("locks");
        for entry in std::fs::read_dir(&path).local("read", &path)? {
            let file = entry.local("read", &path)?.path();
            if file_name(&file).contains('-') {
                std::fs::remove_file(&file).local("remove", &file)?;
            }
        }
        Ok(())
    }
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}
