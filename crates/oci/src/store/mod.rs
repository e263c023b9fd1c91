//! The image store: an OCI image layout on disk, with layers unpacked beside it.
//!
//! ```text
//! oci-layout, index.json   what images there are; a name is the annotation `org.opencontainers.image.ref.name`
//! blobs/sha256/            manifests, configurations, layers as they came
//! layers/                  unpacked layers by chain id, ready for overlayfs
//! ingest/                  downloads that are not finished, by digest; a later pull goes on from there
//! tmp/                     one directory per living process
//! locks/                   `index`: who changes index.json; `users`: shared by all who add, exclusive for `gc`; one per pull, download and unpacking
//! ```
//!
//! Everything comes into place by one rename, content before what refers to it, so that being killed anywhere leaves either the old
//! state or the new one.

mod blobs;
mod gc;
mod idmap;
mod image;
mod index;
mod layers;
mod lock;
mod space;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tempfile::NamedTempFile;

use crate::Error;
use crate::digest::Digest;
use crate::error::Local as _;
use crate::unpack::Limits;

pub use gc::Pruned;
pub use idmap::{OwnershipMode, UsernsFs, remove_tree_with};
pub use image::{Layer, Stored};

pub(crate) use blobs::{BlobWriter, check, replace_file};
pub(crate) use image::{DOCUMENT_LIMIT, LAYERS, invalid_image, parse_config, parse_manifest};
pub(crate) use layers::repeated;
pub(crate) use lock::Lock;
use lock::Session;
pub(crate) use space::{Bounded, Space};

pub(crate) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// How a store works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bounds of one unpacked layer.
    pub limits: Limits,
    /// How many layers are downloaded at once.
    pub downloads: usize,
    /// With whose rights layers are unpacked.
    pub rights: OwnershipMode,
    /// Who unpacks layers and removes them where this process cannot.
    pub hands: Option<Arc<dyn UsernsFs>>,
}

impl Default for Options {
    /// Three downloads at once; with the rights of this process's user.
    fn default() -> Self {
        let rights = if rustix::process::geteuid().is_root() { OwnershipMode::Root } else { OwnershipMode::User };
        Self { limits: Limits::default(), downloads: 3, rights, hands: None }
    }
}

/// Images on disk, shared by all containers and by every process that opens the same root.
///
/// The last clone to be dropped may wait for the disk, as long as a sync takes.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    options: Options,
    session: Session,
    settling: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let settling = self.settling.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(settling) = settling.take() {
            settling.join().ok();
        }
    }
}

impl Store {
    /// Opens the store at `root`, and makes it where there is none. What dead processes left unfinished is swept.
    ///
    /// # Errors
    /// `Internal`, `Exhausted`: the disk.
    pub fn open(root: &Path) -> Result<Self, Error> {
        Self::open_with(root, Options::default())
    }

    /// As [`Store::open`], with options.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(root: &Path, options: Options) -> Result<Self, Error> {
        for directory in ["blobs/sha256", "layers", "ingest", "tmp", "locks"] {
            let path = root.join(directory);
            // What images hold for root, setuid programs among it, is not for every user of the machine.
            DirBuilder::new().recursive(true).mode(0o700).create(&path).local("make", &path)?;
        }
        let session = Session::begin(&root.join("tmp"), options.hands.as_deref())?;
        let store =
            Self { inner: Arc::new(Inner { root: root.to_owned(), options, session, settling: Mutex::default() }) };
        let layout = store.at("oci-layout");
        if !layout.exists() {
            replace_file(&layout, &store.session().path(), LAYOUT)?;
        }
        store.change_rows(|_| Ok(()))?;
        store.drop_unsynced_layers()?;
        Ok(store)
    }

    /// The directory that holds it.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    pub(crate) fn at(&self, below: &str) -> PathBuf {
        self.inner.root.join(below)
    }

    pub(crate) fn options(&self) -> &Options {
        &self.inner.options
    }

    pub(crate) fn session(&self) -> &Session {
        &self.inner.session
    }

    /// A file that is gone with the value.
    pub(crate) fn temporary(&self) -> Result<NamedTempFile, Error> {
        let directory = self.session().directory();
        NamedTempFile::new_in(directory).local("make a file in", directory)
    }

    fn settling(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.inner.settling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_path(&self, name: &str) -> PathBuf {
        self.at("locks").join(name)
    }

    /// Held by all who add content that nothing refers to yet, so that `gc` does not take it away.
    pub(crate) fn using(&self) -> Result<Lock, Error> {
        Lock::shared(&self.lock_path("users"))
    }

    /// Held while a layer is unpacked on demand, over all processes. Blocks.
    pub(crate) fn layer_turn(&self, chain: &Digest) -> Result<Lock, Error> {
        Lock::exclusive(&self.lock_path(&format!("layer-{}", chain.digits())))
    }

    /// As [`Store::using`], without blocking the caller's thread.
    pub(crate) async fn using_async(&self) -> Result<Lock, Error> {
        Lock::wait(self.lock_path("users"), Lock::shared).await
    }

    /// One at a time for `what`, over all processes.
    pub(crate) async fn turn(&self, kind: &str, digest: &Digest) -> Result<Lock, Error> {
        Lock::wait(self.lock_path(&format!("{kind}-{}", digest.digits())), Lock::exclusive).await
    }
}

/// Runs what blocks where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.unwrap_or_else(|error| {
        Err(Error::new(crate::Kind::Internal, format!("a task of the image store died: {error}")))
    })
}
