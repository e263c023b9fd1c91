//! Layers become directories that overlayfs can stack, whatever the archive tries.
//!
//! Every layer gets a directory of its own: a whiteout becomes a 0/0 character device, an opaque directory an attribute. An archive that is
//! hostile can fill its own directory within bounds and nothing else.

mod apply;
mod file_data;
#[cfg(test)]
mod fuzz;
mod metadata;
mod remove;
mod resolve_in_root;
mod sparse;
mod stream;
mod tar_entry;
mod tree;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::io::Errno;

use crate::digest::Digest;
use crate::store::{Options, OwnershipMode, Space};
use crate::{Error, Kind};

use apply::Unpacker;
use stream::Metered;
pub(crate) use tar_entry::{Member, Members};
pub(crate) use tree::Place;
use tree::Root;

pub(crate) use metadata::{Meta, attribute, attributes};
pub use remove::remove_tree;
pub(crate) use resolve_in_root::Folder;
pub(crate) use stream::{Budget, inflate};
use tree::is_directory;
pub(crate) use tree::is_whiteout;

/// Bounds of unpacked layers; what exceeds them is refused while it is being unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the plain archive, and of any one file in it, holes included.
    pub bytes: u64,
    /// Files, directories, links and all else.
    pub entries: u64,
    /// Bytes of the plain archives of all layers of an image.
    pub image_bytes: u64,
}

impl Default for Limits {
    /// 64 GiB and 4 million entries, and 256 GiB for all layers of an image.
    fn default() -> Self {
        Self { bytes: 64 << 30, entries: 4_000_000, image_bytes: 256 << 30 }
    }
}

/// A layer unpacked beside its place; dropped before it is published, it is removed.
#[derive(Debug)]
pub(crate) struct Tree {
    home: PathBuf,
    files: PathBuf,
    /// Directories that the archive does not describe: they look as in the layers below.
    implied: Vec<PathBuf>,
    rights: OwnershipMode,
}

/// Unpacks a layer into the empty directory `files` inside `home`, and makes sure of its diff id.
pub(crate) fn unpack(
    source: impl Read,
    home: &Path,
    files: &Path,
    (blob, diff): (&Digest, &Digest),
    (options, budget): (&Options, &Budget),
) -> Result<Tree, Error> {
    let mut tree = Tree { home: home.to_owned(), files: files.to_owned(), implied: Vec::new(), rights: options.rights };
    let exceeded = Rc::new(Cell::new(false));
    let what = format!("layer `{blob}`");
    let told = |failure| told(&what, options, exceeded.get(), failure);
    let root = Root::open(files, options.rights).map_err(|errno| told(Failure::System(PathBuf::new(), errno)))?;
    let mut unpacker = Unpacker::new(root, options, Space::of(home));
    let found = unpacker.run(source, budget, &exceeded).map_err(told)?;
    if found != *diff {
        let message = format!("layer `{blob}` is damaged: its diff id is `{found}`, the image says `{diff}`");
        return Err(Error::new(Kind::Invalid, message));
    }
    tree.implied = unpacker.finish().map_err(told)?;
    Ok(tree)
}

/// Unpacks an archive of files that are only read again: owners, devices and attributes do not matter.
pub(crate) fn unpack_archive(source: impl Read, into: &Path, about: &Path, options: &Options) -> Result<(), Error> {
    let options = Options { rights: OwnershipMode::User, ..options.clone() };
    let exceeded = Rc::new(Cell::new(false));
    let what = format!("archive `{}`", about.display());
    let told = |failure| told(&what, &options, exceeded.get(), failure);
    let root = Root::open(into, options.rights).map_err(|errno| told(Failure::System(PathBuf::new(), errno)))?;
    Unpacker::new(root, &options, Space::of(into))
        .without_holes()
        .run(source, &Budget::new(u64::MAX), &exceeded)
        .map_err(told)?;
    Ok(())
}

/// Why an archive could not be unpacked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The stream ended early, is damaged, or exceeds its bounds.
    Stream(io::Error),
    /// An entry that makes no sense.
    Entry(PathBuf, String),
    /// The system refused something for this entry.
    System(PathBuf, Errno),
    TooManyEntries,
    OversizedHeaders,
    TooLarge(PathBuf, u64),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

fn told(what: &str, options: &Options, exceeded: bool, failure: Failure) -> Error {
    let limits = &options.limits;
    let invalid = |why: String| Error::new(Kind::Invalid, format!("{what} {why}"));
    let bounds = |why: String| {
        Error::new(Kind::Exhausted, format!("{what} {why}"))
            .hint("raise the limits of the image store if that is intended")
    };
    let entry =
        |path: &Path, why: &dyn Display| format!("has an entry `{}` that cannot be unpacked: {why}", path.display());
    match failure {
        _ if exceeded => bounds(format!(
            "unpacks to more than {} bytes, or its image to more than {}",
            limits.bytes, limits.image_bytes
        )),
        Failure::TooManyEntries => bounds(format!("has more than {} entries", limits.entries)),
        Failure::OversizedHeaders => bounds("has an entry with oversized headers".to_owned()),
        Failure::TooLarge(path, size) => bounds(format!("has a file `{}` of {size} bytes", path.display())),
        Failure::Stream(error) if error.raw_os_error().is_some() => {
            crate::error::failed("read", &what.replace('`', ""), &error)
        }
        Failure::Stream(error) => invalid(format!("cannot be unpacked: {error}")),
        Failure::Entry(path, why) => invalid(entry(&path, &why)),
        Failure::System(path, errno @ (Errno::NAMETOOLONG | Errno::LOOP | Errno::XDEV)) => {
            invalid(entry(&path, &errno))
        }
        // A change of owner is what a user namespace refuses so.
        Failure::System(path, Errno::INVAL) if options.rights == OwnershipMode::Mapped => {
            invalid(entry(&path, &"its owner or group is none of the ids that this user has"))
                .hint("give this user more ids in `/etc/subuid` and `/etc/subgid`, or run the agent as root")
        }
        Failure::System(path, errno) => {
            crate::error::failed(&format!("unpack {what}: entry"), &path.display(), &errno.into())
        }
    }
}

impl Tree {
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Gives undescribed directories the looks that they have in the layers below, highest first.
    pub(crate) fn complete(&self, below: &[PathBuf]) -> Result<(), Error> {
        let failed = |path: &Path, errno: Errno| crate::error::failed("complete", &path.display(), &errno.into());
        let own = Root::open(&self.files, self.rights).map_err(|errno| failed(&self.files, errno))?;
        let roots: Result<Vec<_>, _> = below
            .iter()
            .rev()
            .map(|lower| Root::open(lower, self.rights).map_err(|errno| failed(lower, errno)))
            .collect();
        let roots = roots?;
        for path in &self.implied {
            if let Some(meta) = roots.iter().find_map(|lower| apply::looks(lower, path)) {
                apply::apply_metadata(&own, path, &meta, self.rights).map_err(|errno| failed(path, errno))?;
            }
        }
        Ok(())
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // Once published it is no longer there.
        remove_tree(&self.home).ok();
    }
}
