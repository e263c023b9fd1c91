//! Whose the files of unpacked layers are, and who may touch them.

use std::fmt::Debug;
use std::io;
use std::path::Path;

use super::Layer;
use crate::Error;
use crate::unpack::remove_tree;

/// With whose rights layers are unpacked, and so what of an archive is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnershipMode {
    /// The machine's root: everything.
    Root,
    /// Root of a user namespace that has the ids of an image's owners: owners are kept, device nodes left out, overlay attributes written as
    /// `user.overlay.*` (mount with `userxattr`).
    Mapped,
    /// A user without privileges: as [`OwnershipMode::Mapped`], but every file is this user's.
    User,
}

impl OwnershipMode {
    pub(crate) fn is_root(self) -> bool {
        self == Self::Root
    }

    pub(crate) fn keeps_owners(self) -> bool {
        self != Self::User
    }
}

/// What works on the files of layers in place of a process that has not the ids of their owners. It opens the same store, in another process.
pub trait UsernsFs: Debug + Send + Sync {
    /// Unpacks what is not unpacked yet of an image's layers, lowest first, by [`crate::Store::unpacked`].
    ///
    /// # Errors
    /// As [`crate::Store::layers`].
    fn unpack(&self, store: &Path, layers: &[Layer]) -> Result<(), Error>;

    /// Removes a directory and all below it.
    ///
    /// # Errors
    /// The disk.
    fn remove(&self, tree: &Path) -> io::Result<()>;
}

/// Removes a directory and all below it; what belongs to somebody else, by others.
///
/// # Errors
/// As [`remove_tree`] and [`UsernsFs::remove`].
pub fn remove_tree_with(hands: Option<&dyn UsernsFs>, tree: &Path) -> io::Result<()> {
    match (remove_tree(tree), hands) {
        (Err(error), Some(hands)) if error.kind() == io::ErrorKind::PermissionDenied => hands.remove(tree),
        (removed, _) => removed,
    }
}
