//! Reading images that other tools saved: OCI layouts, in a directory or in an archive, and what `docker save` writes.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

use hythe_spec::ImageRef;
use oci_spec::image::{Descriptor, ImageIndex};
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::json;

use crate::digest::Digest;
use crate::document::{Shape, shape};
use crate::error::Local as _;
use crate::pull::platform;
use crate::store::{DOCUMENT_LIMIT, LAYERS, Store, Stored, blocking, parse_config, parse_manifest};
use crate::unpack::Folder;
use crate::{Error, Kind};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Full names, written by containerd and docker.
const FULL_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const INDEX_DEPTH: usize = 3;
/// Images that one archive may hold, and names that all of them may have.
const IMAGES: usize = 1000;

/// What was found in an archive: a manifest in the store, and what it is called there.
struct Found {
    digest: Digest,
    media_type: String,
    names: Vec<String>,
}

impl Store {
    /// Takes in every image for this machine from an `oci-archive`, a `docker-archive` (compressed or not) or an OCI layout directory. An image is called what the
    /// archive says, or `name`, and appears once it is whole and unpacked. One that has no name is given by digest, until `gc`.
    ///
    /// # Errors
    /// `Invalid` for what is no image, is damaged or hostile, or for one `name` for several images; `NotFound` for a path that is absent; `Exhausted`, `Internal`.
    pub async fn import(&self, archive: &Path, name: Option<&ImageRef>) -> Result<Vec<Stored>, Error> {
        let _using = self.using_async().await?;
        let (store, archive, name) = (self.clone(), archive.to_owned(), name.map(ImageRef::to_string));
        blocking(move || {
            let import =
                Import { store: &store, path: &archive, layers: RefCell::default(), whole: RefCell::default() };
            import.run(name)
        })
        .await
    }
}

struct Import<'a> {
    store: &'a Store,
    path: &'a Path,
    /// Layers that were copied already, by their name in the archive.
    layers: RefCell<HashMap<String, serde_json::Value>>,
    /// Content that is known to be here and undamaged: an archive may name it many times.
    whole: RefCell<HashSet<Digest>>,
}

impl Import<'_> {
    fn run(&self, name: Option<String>) -> Result<Vec<Stored>, Error> {
        let metadata = match std::fs::metadata(self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::new(Kind::NotFound, format!("there is no `{}`", self.path.display())));
            }
            found => found.local("look at", self.path)?,
        };
        let mut found = if metadata.is_dir() {
            let folder =
                Folder::open(self.path).map_err(|error| crate::error::failed("open", &self.path.display(), &error))?;
            self.find(&folder)?
        } else {
            let file = File::open(self.path).local("open", self.path)?;
            let home = self.store.unpack_plainly(file, self.path)?;
            self.find(&home.folder()?)?
        };
        if let Some(name) = name {
            let [only] = found.as_mut_slice() else {
                return Err(self.invalid(&format!("it has {} images for one name", found.len())));
            };
            only.names = vec![name];
        }
        self.bounded("names", found.iter().map(|found| found.names.len()).sum())?;
        found.into_iter().map(|found| self.take_in(found)).collect()
    }

    /// Refuses a table of contents that no tool writes before any of it is looked at.
    fn bounded(&self, what: &str, count: usize) -> Result<(), Error> {
        if count <= IMAGES {
            return Ok(());
        }
        Err(self.invalid(&format!("it has {count} {what}, more than {IMAGES}")))
    }

    /// Unpacked before it is named: what cannot be unpacked never appears.
    fn take_in(&self, found: Found) -> Result<Stored, Error> {
        let stored = self.store.load_manifest(&found.digest, &found.media_type)?;
        platform::check(&stored.config, found.names.first().unwrap_or(&stored.id))?;
        self.store.layers(&stored)?;
        if found.names.is_empty() {
            self.store.name(&stored, None)?;
        }
        for name in &found.names {
            self.store.name(&stored, Some(name.clone()))?;
        }
        self.store.by_manifest(&found.digest)
    }

    fn find(&self, folder: &Folder) -> Result<Vec<Found>, Error> {
        if let Some(index) = self.document(folder, "index.json")? {
            let index: ImageIndex = self.parse(&index, "index.json")?;
            return self.find_oci(folder, &index);
        }
        let Some(table) = self.document(folder, "manifest.json")? else {
            return Err(self.invalid("it has neither `index.json` nor `manifest.json`"));
        };
        let rows: Vec<Row> = self.parse(&table, "manifest.json")?;
        self.bounded("images", rows.len())?;
        rows.iter().map(|row| self.docker_image(folder, row)).collect()
    }

    fn find_oci(&self, folder: &Folder, index: &ImageIndex) -> Result<Vec<Found>, Error> {
        self.bounded("images", index.manifests().len())?;
        let mut images: Vec<Found> = Vec::new();
        for row in index.manifests().iter().filter(|row| !is_foreign(row)) {
            let found = self.oci_image(folder, row)?;
            match images.iter_mut().find(|other| other.digest == found.digest) {
                Some(other) => other.names.extend(found.names),
                None => images.push(found),
            }
        }
        if images.is_empty() {
            let own = platform::architecture();
            return Err(
                self.invalid(&format!("it has no image for `linux/{own}`, only for: {}", platform::offered(index)))
            );
        }
        Ok(images)
    }

    fn oci_image(&self, folder: &Folder, row: &Descriptor) -> Result<Found, Error> {
        let names = names(row)?;
        let (mut row, mut index) = (row.clone(), None);
        for _ in 0..INDEX_DEPTH {
            let digest = Digest::parse(row.digest().as_ref())?;
            let media_type = row.media_type().to_string();
            let bytes = self.document(folder, &blob_name(&digest))?;
            let bytes = bytes.ok_or_else(|| match &index {
                Some(index) => self.lacks_child(index, &digest),
                None => self.lacks(&digest),
            })?;
            if Digest::of(&bytes) != digest || bytes.len() as u64 != row.size() {
                return Err(self.invalid(&format!("content `{digest}` is damaged")));
            }
            let shape = shape(&bytes, Some(&media_type));
            if shape.map_err(|why| self.invalid(&format!("content `{digest}` cannot be used: {why}")))?
                == Shape::Manifest
            {
                self.copy_image(folder, &bytes, &digest)?;
                return Ok(Found { digest, media_type, names });
            }
            let document: ImageIndex = self.parse(&bytes, "an index")?;
            let chosen = platform::choose(&document, None).cloned();
            row = chosen.ok_or_else(|| {
                let own = platform::architecture();
                self.invalid(&format!("it has no image for `linux/{own}`, only for: {}", platform::offered(&document)))
            })?;
            index = Some(digest);
        }
        Err(self.invalid("its indexes are nested too deep"))
    }

    /// The manifest goes last: it refers to the others.
    fn copy_image(&self, folder: &Folder, bytes: &[u8], digest: &Digest) -> Result<(), Error> {
        let manifest = parse_manifest(bytes, digest)?;
        for part in manifest.layers().iter().chain([manifest.config()]) {
            let wanted = Digest::parse(part.digest().as_ref())?;
            if self.whole.borrow().contains(&wanted) {
                continue;
            }
            if !self.store.has_blob(&wanted, part.size()) || self.store.discard_damaged(&wanted)? {
                let mut file = self.open(folder, &blob_name(&wanted))?.ok_or_else(|| self.lacks(&wanted))?;
                self.store.check_room(part.size(), &format!("content `{wanted}`"))?;
                self.store.copy_blob(&mut file, Some((&wanted, part.size())))?;
            }
            self.whole.borrow_mut().insert(wanted);
        }
        self.store.put_blob(bytes)?;
        Ok(())
    }

    /// An image of `docker save` has no manifest: it is given one that follows from what it has.
    fn docker_image(&self, folder: &Folder, row: &Row) -> Result<Found, Error> {
        let config = self.document(folder, &row.config)?;
        let config = config.ok_or_else(|| self.invalid(&format!("it lacks `{}`", row.config)))?;
        let id = self.store.put_blob(&config)?;
        let parsed = parse_config(&config, &id)?;
        let diffs = parsed.rootfs().diff_ids();
        if diffs.len() != row.layers.len() {
            return Err(self.invalid(&format!(
                "an image of it has {} layers and {} diff ids",
                row.layers.len(),
                diffs.len()
            )));
        }
        if row.layers.len() > LAYERS {
            return Err(self.invalid(&format!("an image of it has {} layers, more than {LAYERS}", row.layers.len())));
        }
        let layers: Result<Vec<_>, _> = row.layers.iter().map(|name| self.docker_layer(folder, name)).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": id.as_str(), "size": config.len()},
            "layers": layers?,
        });
        let digest = self.store.put_blob(manifest.to_string().as_bytes())?;
        let names: Result<Vec<_>, _> = row.tags.iter().flatten().map(|tag| full_name(tag)).collect();
        Ok(Found { digest, media_type: MANIFEST.to_owned(), names: names? })
    }

    fn docker_layer(&self, folder: &Folder, name: &str) -> Result<serde_json::Value, Error> {
        if let Some(known) = self.layers.borrow().get(name) {
            return Ok(known.clone());
        }
        let file = self.open(folder, name)?.ok_or_else(|| self.invalid(&format!("it lacks the layer `{name}`")))?;
        let size = file.metadata().local("look at", self.path)?.len();
        self.store.check_room(size, &format!("layer `{name}` of `{}`", self.path.display()))?;
        let mut file = BufReader::new(file);
        let head = io::BufRead::fill_buf(&mut file).local("read", self.path)?;
        let suffix = match head {
            [0x1f, 0x8b, ..] => "+gzip",
            [0x28, 0xb5, 0x2f, 0xfd, ..] => "+zstd",
            _ => "",
        };
        let (digest, size) = self.store.copy_blob(&mut file, None)?;
        let media_type = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
        let layer = json!({"mediaType": media_type, "digest": digest.as_str(), "size": size});
        self.layers.borrow_mut().insert(name.to_owned(), layer.clone());
        Ok(layer)
    }

    /// A small file of the archive; `None` where it has none of that name.
    fn document(&self, folder: &Folder, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(file) = self.open(folder, name)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.take(DOCUMENT_LIMIT + 1).read_to_end(&mut bytes).local("read", self.path)?;
        if bytes.len() as u64 > DOCUMENT_LIMIT {
            return Err(self.invalid(&format!("its `{name}` is too large")));
        }
        Ok(Some(bytes))
    }

    fn open(&self, folder: &Folder, name: &str) -> Result<Option<File>, Error> {
        folder.file(Path::new(name)).map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
            // What is no file, or is reached by a link that leads nowhere good, is the archive's doing.
            None | Some(Errno::LOOP | Errno::XDEV | Errno::NAMETOOLONG | Errno::INVAL | Errno::NXIO) => {
                self.invalid(&format!("its `{name}` cannot be read: {error}"))
            }
            Some(_) => crate::error::failed("read", &self.path.join(name).display(), &error),
        })
    }

    fn parse<'t, T: Deserialize<'t>>(&self, bytes: &'t [u8], what: &str) -> Result<T, Error> {
        serde_json::from_slice(bytes).map_err(|error| self.invalid(&format!("`{what}` cannot be read: {error}")))
    }

    fn lacks(&self, digest: &Digest) -> Error {
        self.invalid(&format!("it lacks content `{digest}`"))
    }

    fn lacks_child(&self, index: &Digest, child: &Digest) -> Error {
        let own = platform::architecture();
        self.invalid(&format!("its index `{index}` names an image for `linux/{own}`, `{child}`, which it lacks"))
            .hint("save the image again with this platform")
    }

    fn invalid(&self, what: &str) -> Error {
        Error::new(Kind::Invalid, format!("`{}` cannot be imported: {what}", self.path.display()))
            .hint("an `oci-archive`, a `docker-archive` or an OCI layout directory is wanted")
    }
}

/// Made for another machine.
pub(super) fn is_foreign(row: &Descriptor) -> bool {
    row.platform().as_ref().is_some_and(|platform| {
        platform.architecture().to_string() != platform::architecture() || platform.os().to_string() != "linux"
    })
}

/// A row of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Row {
    config: String,
    #[serde(rename = "RepoTags")]
    pub(super) tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Only names that are references count: many tools write a bare tag, which names nothing.
pub(super) fn names(row: &Descriptor) -> Result<Vec<String>, Error> {
    let note = |key| row.annotations().as_ref().and_then(|notes| notes.get(key));
    let full = note(FULL_NAME).or_else(|| note(REF_NAME).filter(|name| name.contains(['/', ':'])));
    full.map(|name| full_name(name)).transpose().map(|name| name.into_iter().collect())
}

fn full_name(name: &str) -> Result<String, Error> {
    let image: Result<ImageRef, _> = name.parse();
    image.map(|image| image.to_string()).map_err(|error| {
        Error::new(Kind::Invalid, format!("an archive calls its image `{name}`, which is no name: {error}"))
    })
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.digits())
}

/// An archive unpacked into the store's temporary directory; removed with the value.
pub(crate) struct Unpacked {
    path: PathBuf,
}

impl Unpacked {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn folder(&self) -> Result<Folder, Error> {
        Folder::open(&self.path).map_err(|error| crate::error::failed("open", &self.path.display(), &error))
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        crate::unpack::remove_tree(&self.path).ok();
    }
}

impl Store {
    fn unpack_plainly(&self, file: File, about: &Path) -> Result<Unpacked, Error> {
        let home = Unpacked::new(self.session().path());
        std::fs::create_dir(&home.path).local("make", &home.path)?;
        crate::unpack::unpack_archive(file, &home.path, about, self.options())?;
        Ok(home)
    }
}
