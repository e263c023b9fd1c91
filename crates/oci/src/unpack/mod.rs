//! Layers become directories that overlayfs can stack, whatever the archive tries.
//!
//! Every layer gets a directory of its own: a whiteout becomes a 0/0 character device, an opaque directory an attribute. An archive that is
//! hostile can fill its own directory within bounds and nothing else.

mod content;
mod entry;
mod meta;
mod stream;
mod tree;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::digest::Digest;
use crate::store::Options;
use crate::{Error, Kind};

use entry::Unpacker;
use meta::{Meta, Target};
use stream::{Allowance, Excess, Metered};
use tree::{Place, Root};

pub(crate) use stream::inflate;
use tree::is_directory;

/// Bounds of one unpacked layer; what exceeds them is refused while it is being unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the plain archive, and of any one file in it, holes included.
    pub bytes: u64,
    /// Files, directories, links and all else.
    pub entries: u64,
}

impl Default for Limits {
    /// 64 GiB and 4 million entries.
    fn default() -> Self {
        Self { bytes: 64 << 30, entries: 4_000_000 }
    }
}

/// A layer unpacked beside its place; dropped before it is published, it is removed.
#[derive(Debug)]
pub(crate) struct Tree {
    home: PathBuf,
    files: PathBuf,
    /// Directories that the archive does not describe: they look as in the layers below.
    implied: Vec<PathBuf>,
    rootless: bool,
}

/// Unpacks a layer into the empty directory `files` inside `home`, and makes sure of its diff id.
pub(crate) fn unpack(
    source: impl Read,
    home: &Path,
    files: &Path,
    blob: &Digest,
    diff: &Digest,
    options: &Options,
) -> Result<Tree, Error> {
    let mut tree =
        Tree { home: home.to_owned(), files: files.to_owned(), implied: Vec::new(), rootless: options.rootless };
    let allowance = Allowance::new(&options.limits);
    let told = |failure| told(blob, &options.limits, &allowance, failure);
    let root = Root::open(files).map_err(|errno| told(Failure::System(PathBuf::new(), errno)))?;
    let mut unpacker = Unpacker::new(root, allowance.clone(), options);
    let found = unpacker.run(source).map_err(told)?;
    if found != *diff {
        let message = format!("layer `{blob}` is damaged: its diff id is `{found}`, the image says `{diff}`");
        return Err(Error::new(Kind::Invalid, message));
    }
    tree.implied = unpacker.finish().map_err(told)?;
    Ok(tree)
}

/// Why an archive could not be unpacked.
#[derive(Debug)]
enum Failure {
    /// The stream ended early, is damaged, or exceeds its bounds.
    Stream(io::Error),
    /// An entry that makes no sense.
    Entry(PathBuf, String),
    /// The system refused something for this entry.
    System(PathBuf, Errno),
    TooManyEntries,
    TooLarge(PathBuf, u64),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

fn told(blob: &Digest, limits: &Limits, allowance: &Allowance, failure: Failure) -> Error {
    let bounds = |what: String| {
        Error::new(Kind::Exhausted, format!("layer `{blob}` {what}"))
            .hint("raise the bounds of the image store if that is meant")
    };
    match (allowance.excess(), failure) {
        (Some(Excess::Bytes), _) => bounds(format!("unpacks to more than {} bytes", limits.bytes)),
        (Some(Excess::Headers), _) => bounds("has an entry with oversized headers".to_owned()),
        (_, Failure::TooManyEntries) => bounds(format!("has more than {} entries", limits.entries)),
        (_, Failure::TooLarge(path, size)) => bounds(format!("has a file `{}` of {size} bytes", path.display())),
        (_, Failure::Stream(error)) => match error.raw_os_error() {
            Some(_) => crate::error::failed("read layer", blob, &error),
            None => Error::new(Kind::Invalid, format!("layer `{blob}` cannot be unpacked: {error}")),
        },
        (_, Failure::Entry(path, why)) => Error::new(
            Kind::Invalid,
            format!("layer `{blob}` has an entry `{}` that cannot be unpacked: {why}", path.display()),
        ),
        (_, Failure::System(path, errno)) => {
            let what = format!("{blob}`, entry `{}", path.display());
            match errno {
                Errno::NAMETOOLONG | Errno::LOOP | Errno::XDEV => {
                    Error::new(Kind::Invalid, format!("cannot unpack layer `{what}`: {errno}"))
                }
                _ => crate::error::failed("unpack layer", &what, &errno.into()),
            }
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
        let own = Root::open(&self.files).map_err(|errno| failed(&self.files, errno))?;
        let roots: Result<Vec<_>, _> =
            below.iter().rev().map(|lower| Root::open(lower).map_err(|errno| failed(lower, errno))).collect();
        let roots = roots?;
        for path in &self.implied {
            if let Some(meta) = roots.iter().find_map(|lower| entry::looks(lower, path)) {
                entry::dress(&own, path, &meta, self.rootless).map_err(|errno| failed(path, errno))?;
            }
        }
        Ok(())
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // Once published it is no longer there.
        std::fs::remove_dir_all(&self.home).ok();
    }
}
