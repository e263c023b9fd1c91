//! Files of an unprivileged user that belong to subordinate ids, which the user has in its user namespace only: this program touches them there.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hythe_oci::{Layer, OwnershipMode, UsernsFs};
use hythe_runtime::{ErrorKind, Result};
use hythe_shim::Mapping;

use crate::error::{IoContext, to_store};
use crate::instances::locked;
use crate::userns_exec;

const OPERATION: &str = "connect";

/// Files that are changed by this program in the user namespace.
#[derive(Debug)]
pub(crate) struct InUserns {
    pub(crate) program: PathBuf,
    /// Of the user namespace.
    pub(crate) place: PathBuf,
}

/// Who owns the files of a root.
#[derive(Debug, Default)]
pub(crate) struct FileOwners {
    /// Where files belong to ids that this process has not.
    pub(crate) userns_fs: Option<Arc<dyn UsernsFs>>,
    /// Why not, though they might.
    pub(crate) warning: Option<String>,
}

/// Decides for good whether the files of a root belong to the user alone.
pub(crate) fn adopt_mapping(root: &Path, program: &Path, place: &Path) -> Result<FileOwners> {
    let what = format_args!("find the owners of `{}`", root.display());
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    let keep = |mapping: Option<&Mapping>| Mapping::settle(place, mapping).context(OPERATION, what);
    let mapped = || {
        let userns_fs = InUserns { program: program.to_owned(), place: place.to_owned() };
        FileOwners { userns_fs: Some(Arc::new(userns_fs)), warning: None }
    };
    let _lock = locked(&root.join("lock")).context(OPERATION, what)?;
    match Mapping::of_place(place).context(OPERATION, what)? {
        Some(None) => return Ok(FileOwners::default()),
        Some(Some(mapping)) => {
            let now = mapping.clone().refreshed(&path);
            if now != mapping {
                keep(Some(&now))?;
            }
            return Ok(mapped());
        }
        None => {}
    }
    // One that an earlier version made has files of one owner.
    let is_new = !root.join("instances").exists();
    let Some(mapping) = Mapping::of_this_user(&path).filter(|_| is_new) else {
        keep(None)?;
        return Ok(FileOwners::default());
    };
    keep(Some(&mapping))?;
    match userns_exec::nothing(program, place) {
        Ok(()) => Ok(mapped()),
        Err(error) if error.kind() != ErrorKind::Unauthorized => Err(error),
        Err(error) => {
            keep(None)?;
            Ok(FileOwners { userns_fs: None, warning: Some(format!("rootless: {}", error.message())) })
        }
    }
}

/// With whose rights this process, which is inside, unpacks and copies layers.
pub(crate) fn rights(place: &Path) -> io::Result<OwnershipMode> {
    Ok(if Mapping::of_place(place)?.flatten().is_some() { OwnershipMode::Mapped } else { OwnershipMode::User })
}

impl UsernsFs for InUserns {
    fn unpack(&self, store: &Path, layers: &[Layer]) -> std::result::Result<(), hythe_oci::Error> {
        userns_exec::unpack(&self.program, &self.place, store, layers).map_err(|error| to_store(&error))
    }

    fn remove(&self, tree: &Path) -> io::Result<()> {
        userns_exec::remove(&self.program, &self.place, tree)
            .map_err(|error| io::Error::other(error.message().to_owned()))
    }
}
