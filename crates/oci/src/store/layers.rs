//! Unpacked layers, by chain id.
//!
//! A layer is written beside its place and renamed into it. What a crash of the whole machine may have left half on disk is told by the
//! boot under which it was written: until a sync has made it durable, another boot does not trust it and unpacks it again.

use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Layer, Store, Stored, remove_tree_with, replace_file};
use crate::digest::Digest;
use crate::error::Local as _;
use crate::unpack::{self, Budget, Tree};
use crate::{Error, Kind};

const FILES: &str = "fs";
const STATE: &str = "state";
const NEW_STATE: &str = "state.new";
const DURABLE: &str = "durable";

impl Store {
    /// The unpacked directories of the image's layers, lowest first, ready as overlayfs lower directories. Blocking: what is not unpacked yet is unpacked now.
    /// An image without layers gives none; a layer that the image repeats gives one, at its highest place.
    ///
    /// # Errors
    /// `NotFound` when content is missing, `Invalid` for an archive that is not what its digests say or is hostile, `Exhausted`, `Internal`.
    pub fn layers(&self, image: &Stored) -> Result<Vec<PathBuf>, Error> {
        self.unpacked(&image.layers)
    }

    /// As [`Store::layers`], for all layers of an image that may have no name yet.
    ///
    /// # Errors
    /// As [`Store::layers`].
    pub fn unpacked(&self, layers: &[Layer]) -> Result<Vec<PathBuf>, Error> {
        let _using = self.using()?;
        let mut below: Vec<PathBuf> = Vec::with_capacity(layers.len());
        let mut is_news = false;
        let budget = self.budget();
        let again = repeated(layers.iter().map(|layer| (&layer.digest, &layer.diff_id)));
        for layer in layers.iter().zip(again).filter(|(_, again)| !again).map(|(layer, _)| layer) {
            let chain = Digest::parse(&layer.chain_id)?;
            if let Some(hands) = &self.options().hands
                && !self.has_layer(&chain)
            {
                hands.unpack(self.root(), layers)?;
            }
            if !self.has_layer(&chain) {
                let _turn = self.layer_turn(&chain)?;
                if !self.has_layer(&chain) {
                    let (blob, diff) = (Digest::parse(&layer.digest)?, Digest::parse(&layer.diff_id)?);
                    let tree = self.unpack_blob(&blob, &diff, &budget)?;
                    self.publish_layer(tree, &chain, &below)?;
                    is_news = true;
                }
            }
            below.push(self.layer_files(&chain));
        }
        if is_news {
            self.sync_in_background();
        }
        Ok(below)
    }

    /// The file with a layer as it came, mostly compressed.
    ///
    /// # Errors
    /// `NotFound` when its content is missing; `Invalid` for a digest that is none.
    pub fn layer_blob(&self, layer: &Layer) -> Result<PathBuf, Error> {
        let digest = Digest::parse(&layer.digest)?;
        let path = self.blob_path(&digest);
        if path.is_file() {
            return Ok(path);
        }
        let message = format!("the image store has no content `{digest}`");
        Err(Error::new(Kind::NotFound, message).hint("pull or import the image again"))
    }

    /// What the layers of one image may unpack to.
    pub(crate) fn budget(&self) -> Budget {
        Budget::new(self.options().limits.image_bytes)
    }

    pub(crate) fn layer_files(&self, chain: &Digest) -> PathBuf {
        self.at("layers").join(chain.digits()).join(FILES)
    }

    pub(crate) fn has_layer(&self, chain: &Digest) -> bool {
        self.layer_files(chain).exists()
    }

    pub(crate) fn unpack_blob(&self, blob: &Digest, diff: &Digest, budget: &Budget) -> Result<Tree, Error> {
        let path = self.blob_path(blob);
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let message = format!("the image store has no content `{blob}`");
                return Err(Error::new(Kind::NotFound, message).hint("pull or import the image again"));
            }
            opened => opened.local("open", &path)?,
        };
        self.unpack(file, (blob, diff), budget)
    }

    /// Unpacks a layer beside its place, to be published once its lower layers are.
    pub(crate) fn unpack(
        &self,
        source: impl std::io::Read,
        digests: (&Digest, &Digest),
        budget: &Budget,
    ) -> Result<Tree, Error> {
        let home = self.session().path();
        let into = home.join(FILES);
        std::fs::create_dir_all(&into).local("make", &into)?;
        // The root is a directory like others: a mask must not close it.
        std::fs::set_permissions(&into, Permissions::from_mode(0o755)).local("change the mode of", &into)?;
        unpack::unpack(source, &home, &into, digests, (self.options(), budget))
    }

    /// Puts an unpacked layer into its place; one that is there already stays.
    pub(crate) fn publish_layer(&self, tree: Tree, chain: &Digest, below: &[PathBuf]) -> Result<(), Error> {
        tree.complete(below)?;
        let state = tree.home().join(STATE);
        std::fs::write(&state, boot()?).local("write", &state)?;
        let place = self.at("layers").join(chain.digits());
        match std::fs::rename(tree.home(), &place) {
            Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty) => Ok(()),
            renamed => renamed.local("rename into place", &place),
        }
    }

    /// Makes unpacked layers outlive a crash of the machine, which a pull does not wait for: until it is done, they are only unpacked again after one.
    pub(crate) fn sync_in_background(&self) {
        let layers = self.at("layers");
        let mut settling = self.settling();
        let before = settling.take();
        *settling = Some(std::thread::spawn(move || {
            if let Some(before) = before {
                before.join().ok();
            }
            if let Err(error) = settle(&layers) {
                tracing::debug!(%error, "unpacked layers are not durable yet");
            }
        }));
    }

    /// Removes layers of an earlier boot that were not durable when it ended.
    pub(crate) fn drop_unsynced_layers(&self) -> Result<(), Error> {
        let boot = boot()?;
        for home in self.layer_homes()? {
            let state = std::fs::read_to_string(home.join(STATE)).unwrap_or_default();
            if state != boot && state != DURABLE {
                self.remove_layer(&home)?;
            }
        }
        Ok(())
    }

    pub(crate) fn layer_homes(&self) -> Result<Vec<PathBuf>, Error> {
        homes(&self.at("layers"))
    }

    /// Out of its place first, so that nobody meets half a layer.
    pub(crate) fn remove_layer(&self, home: &Path) -> Result<(), Error> {
        let away = self.session().path();
        match std::fs::rename(home, &away) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            renamed => renamed.local("rename", home)?,
        }
        remove_tree_with(self.options().hands.as_deref(), &away).local("remove", &away)
    }
}

/// For each layer, lowest first, whether the same one comes again above it. It need not be unpacked then: the upper one adds, changes
/// and hides the same, whatever lies between them.
pub(crate) fn repeated<K: Ord>(layers: impl DoubleEndedIterator<Item = K>) -> Vec<bool> {
    let mut above = BTreeSet::new();
    let mut again: Vec<bool> = layers.rev().map(|layer| !above.insert(layer)).collect();
    again.reverse();
    again
}

fn homes(layers: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(layers).local("read", layers)?;
    entries.map(|entry| Ok(entry.local("read", layers)?.path())).collect()
}

fn settle(layers: &Path) -> Result<(), Error> {
    let unsettled: Vec<_> = homes(layers)?.into_iter().filter(|home| !is_durable(home)).collect();
    if unsettled.is_empty() {
        return Ok(());
    }
    let directory = File::open(layers).local("open", layers)?;
    rustix::fs::syncfs(&directory).local("sync", layers)?;
    for home in unsettled {
        // One that was removed meanwhile needs nothing any more.
        if home.exists() {
            replace_file(&home.join(STATE), &home.join(NEW_STATE), DURABLE.as_bytes())?;
        }
    }
    Ok(())
}

fn is_durable(home: &Path) -> bool {
    std::fs::read(home.join(STATE)).is_ok_and(|state| state == DURABLE.as_bytes())
}

fn boot() -> Result<String, Error> {
    hythe_host::boot_id().local("read", Path::new(hythe_host::BOOT_ID))
}
